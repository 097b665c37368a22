// Talking to the server that this page came from, and to no other.

let key = null; // in memory only
let askForKey = null; // () => Promise<string>, set by the page

export function onKeyNeeded(ask) {
  askForKey = ask;
}

export class ServerError extends Error {
  constructor(status, body, requestId, retryAfter) {
    super(body?.error?.message ?? `The server answered with status ${status}.`);
    this.status = status;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
}

async function request(path, options = {}) {
  for (;;) {
    const headers = { ...(options.body ? { "content-type": "application/json" } : {}) };
    if (key !== null) headers.authorization = `Bearer ${key}`;
    let response;
    try {
      response = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServerError(0, { error: { message: "The server cannot be reached. Is it still running?" } });
    }
    if (response.ok) return response;
    let body = null;
    try { body = await response.json(); } catch { /* not JSON: the status says it */ }
    if (response.status === 401 && askForKey !== null) {
      const wrong = key !== null;
      key = await askForKey(wrong);
      continue;
    }
    throw new ServerError(response.status, body, response.headers.get("x-request-id"),
      response.headers.get("retry-after"));
  }
}

export async function get(path) {
  return (await request(path)).json();
}

export async function post(path, body) {
  return (await request(path, { method: "POST", body: JSON.stringify(body) })).json();
}

/** Yields the parsed data of each server-sent event of an answer; throws ServerError on an error event. */
export async function* stream(body, signal) {
  const response = await request("/v1/chat/completions", {
    method: "POST", body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }), signal,
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new ServerError(0, { error: { message: "The answer broke off: the connection was lost." } });
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) {
        if (!frame.startsWith("data: ")) continue; // a ping
        const data = frame.slice(6);
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw new ServerError(500, event, response.headers.get("x-request-id"));
        yield event;
      }
    }
  } catch (error) {
    if (error instanceof ServerError || error.name === "AbortError") throw error;
    throw new ServerError(0, { error: { message: "The answer broke off: the connection was lost." } });
  } finally {
    reader.cancel().catch(() => {});
  }
}
