"""Sentence templates for sentences.py: news, work, films, talk, notices, titles. Own writing."""

from __future__ import annotations

WORDS = """
love night day heart road home river dream fire water light shadow summer winter rain storm song dance girl boy mother father
brother sister king queen prince soldier hunter killer stranger ghost devil angel dog cat horse bird wolf lion snake house
garden window door mirror letter secret promise lie truth war peace battle enemy friend lover wife husband child money gold
silver blood bone skin eye hand voice silence music guitar drum train car ship bridge street city town island mountain sea sky
moon star sun world time year hour minute morning evening midnight Sunday Monday yesterday tomorrow forever never always again
lost broken hidden sacred wild sweet bitter dark bright cold hot young old last first second third final great little big long
short good bad best worst happy sad lonely crazy dead alive blind deaf free rich poor running falling dancing singing waiting
burning dying living leaving coming going looking making playing working thinking speaking reading writing learning sleeping
run fall dance sing wait burn die live leave come go look make play work think speak read write learn sleep kiss kill hate need
want feel know remember forget believe treaty act agreement convention charter declaration education health labor trade safety
protection rights equality insurance pension tax union article section chapter volume part issue edition guide manual handbook
history science art nature culture religion politics sport fashion cooking travel comedy drama action romance thriller horror
fantasy adventure mystery animation documentary western musical family classic live acoustic original studio concert tour award
prize month employee champion winner leader captain doctor nurse teacher student lawyer driver waiter sailor painter dancer
account card payment order delivery invoice number code password address phone email help service office department manager
support question answer problem solution report review draft plan project meeting agenda minutes budget program system user
table index query file folder button screen keyboard network server client request error warning update version release
""".split()  # noqa: SIM905

STORIES = tuple(
    line.strip().replace("\\n", "\n")
    for line in r"""
The headquarters of {org} are at {address}
What is the address of {org}? {address}
The mailing address of {org} was {address} for years.
In {date}, {org} put a lot of money into new machines and helped the industry grow.
During the war {org} made engines.
After {date}, {org} and {org} were the leaders of the market.
{org} is a law firm based in {city}.
{org} is a marketing agency in {city}.
{org} is a non-profit that helps schools.
{org} started as an idea of {last}, {last} and {last}.
{org} was the idea of our founders: {last}, {last} and {last}.
The {org} Band was formed in {date} and plays all over Southern {country}.
She is from {org}
{first} is from {org}
{first} is from {city}
{first} is very kind. You can trust him.
{first} is a difficult person, but they are fair.
{first} shouted at {first}: "Stop!"
{first} spent two years at {org} as the assistant to {name}, and then went to {org} in {city}, which became {org} in {date}.
User: {name}
Agent: What is your name, please? Customer: {name}
Bot: How can I help you? User: I need a card.
Bot: Which city? User: {city}
Operator: Your address? Caller: {address}
{name}\n{org}\n{address}\nMobile: {phone}\nDesk: {phone}\nFax: {phone}
{name}\n{org}\n{house} {street}\n{city} {zip}\n{phone} office\n{phone} fax\n{phone} mobile
{name}\n{job}\n{org}\nTel: {phone}\nFax: {phone}
??? {name}\n??? {org}\n??? {house} {street}\n??? {flat}\n??? {city}\n??? {country} {zip}
{house} {street}\n {flat}\n {city}\n {country} {zip}
I want to change both addresses to the same one: {address}
Not getting my letters. Is this right? {address}
My address is {address}
My address: {address}. Thank you!
The station is on {street}
Ask for the stop at {street}, please.
People may cross on {street} only.
Action & Adventure, Thriller, Mystery & Suspense\nDirected By: {name}
Animation, Musical\nWritten By: {name}
Transfer the money from my account to another bank account.
God is good, and the Lord knows.
On the last Monday before Easter we came back to {city} by boat.
{org} shut its factory near {city} in {date}.
{org} was sold to {org} for {num} million dollars.
A spokesman for {org} declined to comment.
{name}, who leads {org}, said the year had been hard.
The board of {org} elected {name} as its chairman.
{org} opened a second office in {city}, {country}.
{org} sued {org} over a patent.
She left {org} for {org}.
Is {org} a good place to work?
Has anybody heard of {org}?
Does {org} ship to {country}?
My order from {org} never came.
{org} has the best prices in town.
{org} makes shoes and bags.
{org} builds tools for small shops and was started in {date}.
{org} is a family business run by {name} and {name}.
{org} is owned by the state.
{org} does not answer my calls.
{org}, the maker of the device, blames its supplier {org}.
A grant from {org} paid for the study.
The study was done by {name} at {org}.
Researchers at {org} and {org} found that sleep helps memory.
The {org} report says that rents rose by {num} percent.
The {org} app does not work on my phone.
An internship at {org} was my first job.
I applied at {org}, {org} and {org}.
Invoice from {org}, {address}
Bill to: {org}, {address}
We at {org} would like to thank you.
Welcome to {org}! How may I help you, {first}?
Thank you for calling {org}, this is {first} speaking.
{name} of {org} is the first speaker today.
{name} from {org} will give a talk.
{name} ({org}) opened the session.
{first} from {org} called twice.
{first} is with {org} now.
Panel: {name} ({org}), {name} ({org}) and {name}
Sponsors of the evening were {org}, {org} and {org}.
{last} & {last} is a bakery in {city}.
{name} plays the cello in the {org} Orchestra.
the {org} shop on the corner
The founder of {org}, {name}, was born in {city}.
{name} used to be {job} at {org}.
I was {job} for {org} before I retired.
He works as {job}.
She got a post as {job} in {city}.
{name}, {job}
"{name}, {job}, explained the plan to the press."
Our {job} {name} will call you back.
{name}, the new {job}, thinks so too.
As a {job} I need a good chair.
{name} retired as {job} in {date}.
Reporter {name} writes from {city}.
Singer {name} told the radio that the tour is over.
Critic {name} calls it a masterpiece.
Guitarist {name} left the band in {date}.
The painter {last} died in {city}.
The {last} trial begins on Monday.
The {last} family still lives there.
The {last} brothers built it.
the {last} album is dull, and long
Like most {last} songs, it is about love.
This is no {last} film, but it is fun.
Fans of {last} will like it.
Not as good as {name}, better than {first}.
{last}'s early work was different.
{last} sings, {last} plays the drums.
For {last} it was the third win.
{last} beat {last} in the final in {city}.
{last} scored twice, {last} once.
{last}, {num}, was arrested on Friday.
Police in {city} are looking for {name}, {num}.
{name}'s lawyer said that her client was not guilty.
Judge {last} will hear the case.
Senator {last} voted against it.
President {last} travels to {country} on Monday.
The {country} team lost to {country}.
{city} lost at home to {city}.
Flights from {city} to {city} were cancelled.
Snow fell in {city} and {city}.
The mayor of {city}, {name}, opened the park.
The river runs through {city} into {country}.
{city} was cold and wet.
{city} is far from {city}.
{city} is a small town in {country}.
My home town is {city}.
He was raised in {city} by his grandmother.
Her family comes from {city}, {country}.
I was born in {city} but I live in {city} now.
I have just come back from {city}.
Greetings from {city}!
Next year we go to {country}, and then to {city}.
Are you in {country} now?
How far is it to {city}?
I lost my wallet in {city} last night.
{country} has won again.
The minister said that {country} would not sign.
"{country} must act now," said {last}.
They speak {group} in {city}.
The {group} king was ill.
a {group} film about love
a {date} {group} novel by {name}
{group} and {group} troops crossed the river.
Is there a {group} church in {city}?
{group} food is my favourite.
She is half {group}, half {group}.
the {group} parliament voted on {date}
{group} voters in {country}
My neighbours are {group}s.
Hi {first}, I need help with a transfer.
Hello {first}, thanks for the quick answer.
Good morning {name}, your parcel is here.
{first}, can you hear me?
Thanks {first}!
No, {first}, that is wrong.
Oh {first}, do not go!
Poor {first}.
Do you remember {first}?
{first} is {num}.
{first} is late because {first} missed the bus.
{first} told me that you are hiring.
{first} and {first} are friends.
{first} was such a {first} fan.
{first} thinks that {first} is right.
{first} loves {first}.
My wife {first} and my son {first} are on the same plan.
My dog is called {first}.
my boss is {name}, do you know her?
Please add {name} to the list.
Put it under {name}, please.
I want to send money to {name}
The cheque is for {name}.
The name is {last}, {first} {last}.
It should say {name}, not {name}.
Maiden name: {last}
User: {first}\nBot: Thanks, {first}.
Bot: May I have your name? User: It is {name}.
Bot: Hello, how can I help?
User: hello\nBot: Hi! What can I do for you?
Agent: Good evening.\nCaller: I am {name}.
Signed, {name}
Yours, {name}
Attendees: {name}, {name}, {name}
Cast: {name} as the king, {name} as the queen
Photo: {name}
Text by {name}, pictures by {name}
Mobile: {phone}\nFax: {phone}
{phone} - Office\n{phone} - Fax
Fax: {phone}
Office {phone}, Mobile {phone}
Shipping to {address}, right?
Where should I send it? To {address}
Is {address} still your address?
The taxi is waiting at {address}.
The flat at {address} is for rent.
We have moved our shop to {address}
Come to {address} after work, and bring {first}.
Write to {name}, {address}, by Friday.
The letter was sent to {address} two weeks ago.
Return the goods to {address} in case of damage.
The meeting is at {address}, at nine.
I used to live at {address} and now I live at {address}
Old address: {address}\nNew address: {address}
Change my address to {address}
Pick me up at {address}
The address on file is {address}
Where do you live? {address}
The stop is at {street}.
The bus goes along {street} and turns into {street}.
There was an accident on {street}.
Parking is not allowed on {street}.
{city} {zip}, {country}
{name} {flat} {house} {street}\n{city} {country} {zip}
Billing: {name}\n {house} {street} {flat}\n {city}\n {country}\n {zip}
{house} {street}\n {flat}\n {city}\n {country}\n {zip}
{name}\n\n{house} {street}\n {city}\n {country} {zip}
> {name}\n> {house} {street}\n> {city}\n> {country} {zip}
>{name}\n>{org}\n>{house} {street}\n>{flat}\n>{city}\n>{country} {zip}
# {name}\n# {org}\n# {house} {street}\n# {city}\n# {country} {zip}
{name}\n{org}\n{name}\n{house} {street}\n{city}\n{country} {zip}
Choose a file from the Users folder and press Start.
SELECT name FROM Orders WHERE id = 7;
Error: Connection refused (code {num})
Press OK to go on, or Cancel to stop.
The cats, dogs, horses and goats live in the barn.
Lions, tigers, bears, monkeys and more
It is a story about hunger, jealousy and greed, I think.
Workers, farmers and clerks sang the anthem together.
Oh my God, it hurts.
God save us all, and rock on.
Thank God it is over.
The Lord is my shepherd.
Comedy, Horror, Mystery, Thriller & Suspense
Drama, Sports, Fantasy\nWritten By: {name}
Article {num} of the Treaty was changed.
The Members signed the Agreement in {date}.
The Bill of Rights protects the press.
Everyone in the Department got a raise.
Section {num} of the Labor Act applies.
WHY DOES NOTHING WORK HERE?
I WANT MY MONEY BACK NOW!!!
LET ME TALK TO A HUMAN
Hey, It's Only Money is a great song title.
See Ten Songs You Should Hear Before You Die (And Why)
Five Things We Learned From The Game
Mother Of All Storms is out now.
Salesman of the Year, three times.
Energetic cook with {num} years of experience.
Our Mission: to help every child read.
Mission: {org} supports artists and their families.
"{title}" was their first hit.
"{title}" by {name} is on the radio again.
My favourite song is {title}.
The film {title} was shown in {city}.
{title} is a film about a man and his dog.
{title} is a {date} film directed by {name}.
I am reading {title} by {name}.
Have you seen {title}? It is great.
From the album {title}, with {name} on drums.
{name} wrote "{title}" in {date}.
See {title}: {title} ({title})
{title}\n{title}
Chapter {num}: {title}
The {title} of {date} protects everyone.
According to the {title}, this is not allowed.
The {title} was signed in {city}.
{title}, {title} & {title}
Genres: {title}, {title}
Awarded {title} three times.
{title} was the best part of the show.
I have a question about {title}.
Please open {title} and press {title}.
{title}: what you need to know
If you liked {title}, read this.
The opening track, {title}, is a dull piece of pop, and {title} is worse.
I bought {title} for {num} dollars.
""".strip().splitlines()
)
