"""Sentence templates for sentences.py: how people ask, order, complain, report, and write addresses. Own writing."""

from __future__ import annotations

from ownlm.data.privacy.stories import STORIES

LETTERS = tuple(
    line.strip().replace("\\n", "\n")
    for line in r"""
My name is {name}.
Hi, this is {name} from {org}.
I am {name} and I would like to open an account.
Hello, my name is {first}, I live in {city}.
{name} called about the invoice on {date}.
Please send the contract to {name}, {address}.
Please ship it to {address}
Please ship it to {address} before Friday.
Deliver to: {address}
My new address is {address}, can you change it in your system?
We moved, the new address is {address}.
The delivery address should be {address} instead.
She lives at {house} {street}, {city}.
He used to live at {street}, {city} until {date}.
{name} lives at {street} in {city}, {country}.
Our head office is in {street}, {city}.
The office of {org} is at {street}.
You can find {org} at {address}
Where is {org} located? At {address}.
The store on {street} is closed.
The shop at {street} opens at nine.
Turn left at {street} and then right.
Take the tram to {street}.
The parcel was left at {address} yesterday.
Send the documents to {street}, please.
I will wait for you at {address} at noon.
see you at {address} tonight
{name}\n{address}
{name}\n{org}\n{address}
{name}\n{house} {street} {flat}\n{city}\n{country}\n{zip}
{name}\n\n{house} {street}\n {flat}\n {city}\n {country} {zip}\n{phone}
{name}\n\n{house} {street}\n {flat}\n {city}\n {country} {zip}
To:\n{name}\n{house} {street}\n{flat}\n{city} {zip}\n{country}
> {name}\n> {org}\n> {house} {street}\n> {flat}\n> {city}\n> {country} {zip}
* {name}\n* {org}\n* {house} {street}\n* {flat}\n* {city}\n* {country} {zip}
Shipping address: {name}\n{house} {street} {flat}\n{city}\n{country}\n{zip}
Name: {name}\nAddress: {address}
Name: {name}\nPhone: {phone}\nEmail: {mail}
Name: {name}\nDate: {date}\nCompany: {org}
Company: {org}\nContact: {name}\nCity: {city}\nCountry: {country}
Customer: {name} ({city}, {country})
{name} {house} {street} {flat} {city} {zip}
Dr. {name} {flat} {house} {street}\n{city} {country} {zip}
Mr. {last} moved to {city} in {date}.
Mrs. {last} is a {num} year old woman from {city}.
Ms. {name} is our new {job}.
Dr. {last} will see you at {num}.
Mr. {last}, the {job}, was not in the room.
Mr. and Mrs. {last} are in {country} this week.
{name}, the {job}, told us: "It is a good day."
{name}, {job} at {org}, did not answer.
{first} works as a {job} at {org} in {city}.
I spoke to the {job}, {name}, and she agreed.
We are hiring: {job} ({city}).
My job title is {job}.
{name} was born in {city}, {country}, in {date}.
{name} ({date}-{date}) was a {group} painter from {city}.
{first} and {first} got married in {city}.
{first}, {first} and {first} were late.
They invited {first}, {first}, {first}, {first} and {first}.
Where is {first}?
Why did {first} leave?
Is {first} always this slow?
Who is {name}?
What do you know about {name}?
Have you seen {first} today?
{first}: "Where are you going?"\n{first}: "Home, with {first}."
{first} said to {first}, "You never listen."
"I do not know," said {last}.
"We are very proud of the team," says {name}.
{last} said that the weather was too cold for the match.
According to {name}, nobody was hurt.
{name}'s sister is older than him.
{first}'s car is red.
It was between her and {first}'s brother.
Everybody calls me {first}.
People know him as {first} but his real name is {name}.
What is your first name? {first}
Surname? {last}
What is your surname? {last}
Last name: {last}
Your full name please? {name}
The account holder is {name}.
The card is in the name of {name}, is that a problem?
Please change the name on the account to {name}
I need to add my husband {name} to the contract.
It is registered under my mother's name {name}
a song by {name}
Written by: {name}
Directed by {name}
Starring: {name}, {name} and {name}
The new album by {name} is better than the last one.
A lovely song made worse by the guitar (played by {name}).
This novel by {last} is boring.
The {last} film was shown in {city}.
I have never liked the {last} books.
The lead actor, {name}, comes from {country}.
{name} sings with {first} on the second record.
Read the {group} version first, then the one by {name}.
{name} won the prize in {date}.
{name} joined {org} in {date} as a {job} and left for {org} two years later.
{name} founded {org} in {city}, which was later bought by {org}.
{org} was founded in {date}.
{org} is a software company based in {city}.
{org} is the work of three friends: {last}, {last} and {last}.
{org} announced a deal with {org} on Monday.
{org} and {org} will merge.
Shares of {org} fell by {num} percent.
{org} hired {name} as its {job}.
{org} offers jobs in {city}, {city} and {city}.
I work for {org}.
I have been with {org} for {num} years.
My employer is {org}.
The largest firms here are {org}, {org} and {org}.
Customers of {org} pay more than those of {org}.
More at the {org} website.
The {org} team wants to talk to you.
The {org} choir sings every week.
{org} celebrated its {num}th birthday in {city}.
I bought it from {org} and it broke.
{org}'s prices are too high.
Contact {org} for details.
The conference in {city} was a success.
I am in {city}, at a hotel.
I live in {city}.
I grew up in {city} and moved to {country} at {num}.
We came here from {city}
We will fly to {city} next week, so I need a new card.
I am going to {country} in July.
I want to go to {country} with you.
{country} was lovely.
{country} is a beautiful place.
{city} is the capital of {country}.
Are there any cash machines in {city}?
Is there a branch in {city}, {country}?
What is the weather like in {city}?
The train from {city} to {city} is late.
The Queen arrived in {city} from {country} this afternoon.
We drove to {city} on Sunday and stayed until Labor Day.
In {country} people eat late.
Across {country}, prices rise.
Northern {country} is cold.
He is {group}.
She speaks {group} and {group}.
A {group} restaurant opened downtown.
There is a new {group} place near the station.
Many {group} people live here.
The {group} government did not reply.
My grandmother was {group}, my grandfather {group}.
He was the first {group} to fly over {city}.
Most of them are {group} speakers.
my zip code is {zip}
Zip code: {zip}
Postcode {zip}
{city} {zip}
{city}, {country} {zip}
My code is {zip}, in {city}.
My card number is {num}, my name is {name}.
I lost my card {num}. My name is {name}.
Call me on {phone}, thanks, {first}.
My phone is {phone}
You can write to {mail} or to {street}, {city}.
Thanks,\n{first}
Best regards,\n{name}\n{job}\n{org}
Dear {first},\nthank you for your letter.
Dear Mr. {last},\nyour order {num} has left our store.
Kind regards, {name}, {org}
From: {name}\nTo: {name}
{name} worked for {org} as {job} until {date}.
I was a {job} at {org} and now I am looking for work.
She found a job with {org} as {job}, then moved to {city}.
He quit his job as {job} last month.
Experienced {job} with {num} years in sales. I want to join {org} in {city} {zip} and help it grow.
Awarded Employee of the Year twice, and looking to help {org} in {city}.
I would love to support {org} in its mission.
Compared with the {last} book, this one is short.
It is nothing like the {last} version.
A review of the {last} case was asked for.
A {date} {group} comedy film directed by {name}, with {last} in the lead.
{first} gave {first} the address: {address}
{first} told {first} where to go: {address}
{first} lives on {street}.
{first} lives at {house} {street}, {city}
They were five: {first}, {first}, {first}, {first} and {first}.
There are three of us: {first}, {first} and {first}.
{first}: What a day.\n{first}: Remember last year, {first}? I was so young!\n{first}: You were great! How can I help?
{city} station is closed today.
{city} airport is open again.
{city} hospital needs nurses.
The {city} bridge was built in {date}.
The {group} government began the talks on {date}.
the {name} recording made for {org} sold a million copies.
I am {name}, I come from {city}, and I am {num}.
Their home town {city} is known for: {org}, {org} and {org}. "We like it here," says {name} in an old song.
From {org} to {org}, everybody is hiring.
{org}, where I was an intern, is in {city}.
{org} is at {address}
I would like to cancel my subscription because I am leaving the country.
Could you please tell me how to block my card?
What is the limit of my account?
How do I change my address and my phone number?
Please update my address, I have moved.
Will my new card arrive before the weekend?
You will be responsible for the care of many kinds of animals.
The Act of {date} protects people at work.
Title IX of the Education Act of {date} forbids this.
My religion does not allow this.
Comedy, Drama, Science Fiction & Fantasy, Kids & Family
Music and Lyrics, Action, Romance, Documentary
ASAP means as soon as possible.
The best film of {date}, with great actors and a Very Bad ending.
Rock and Roll is not dead.
A Journey to the Sea is a film about a boat.
What Is Love was a hit in {date}.
God knows what will happen.
Is ATM withdrawal free? Please tell me about PIN and IBAN.
The Best Of album came out on Monday.
Chapter One: The House on the Hill
Please Do Not Disturb
Thank You For Calling Customer Service
How To Change Your Password
Happy Birthday!
Merry Christmas and a Happy New Year
""".strip().splitlines()
)

TEMPLATES = LETTERS + STORIES
