"""What FactStream's people say and are asked: templates, values, causes, traps and chatter."""

from __future__ import annotations

PEOPLE = ("Anna", "Bruno", "Clara", "David", "Elena", "Felix")

# {I} and {my} become "I" and "my", or a name and its possessive; [live|lives] agrees with it; {v} is the value, {old}
# the one before. Within each list the first half is for tuning, the second is held out.
STATES: dict[str, tuple[str, ...]] = {
    "home": (
        "{I} [live|lives] in {v}.", "{my} home is in {v}.", "{I} [am|is] based in {v}.",
        "{I} [reside|resides] in {v}.", "{my} flat is in {v}.", "{v} is where {I} [live|lives].",
    ),
    "employer": (
        "{I} [work|works] at {v}.", "{my} employer is {v}.", "{I} [work|works] for {v}.",
        "{I} [am|is] working at {v}.", "{my} job is at {v}.", "{I} [am|is] employed by {v}.",
    ),
    "job": (
        "{I} [work|works] as {a} {v}.", "{my} job is {a} {v}.", "{I} [am|is] {a} {v} by profession.",
        "{I} [am|is] working as {a} {v}.", "{my} occupation is {v}.", "{my} position is {v}.",
    ),
    "colour": (
        "{my} favourite colour is {v}.", "{v} is {my} favourite colour.", "{my} favorite color is {v}.",
        "The colour {I} [love|loves] most is {v}.", "{my} best-loved colour is {v}.",
        "{v} is the colour {I} [like|likes] best.",
    ),
    "food": (
        "{my} favourite food is {v}.", "{v} is {my} favourite food.", "{my} favourite dish is {v}.",
        "{my} favorite meal is {v}.", "The dish {I} [like|likes] best is {v}.", "{my} top comfort food is {v}.",
    ),
    "phone": (
        "{my} phone number is {v}.", "{my} number is {v}.", "{my} mobile number is {v}.", "{v} is {my} phone number.",
        "You can call {me} on {v}.", "{my} telephone number is {v}.",
    ),
    "office": (
        "{my} office is room {v}.", "{my} desk is in room {v}.", "{I} [sit|sits] in room {v}.",
        "{my} office is in room {v}.", "{I} [work|works] from room {v}.", "{my} seat is in room {v}.",
    ),
    "car": (
        "{I} [drive|drives] a {v}.", "{my} car is a {v}.", "The car {I} [drive|drives] is a {v}.",
        "{I} [own|owns] a {v}.", "{my} ride is a {v}.", "{I} [am|is] driving a {v}.",
    ),
    "boss": (
        "{my} boss is {v}.", "{my} manager is {v}.", "{I} [report|reports] to {v}.", "{my} supervisor is {v}.",
        "{v} is {my} boss.", "The person {I} [report|reports] to is {v}.",
    ),
    "meeting": (
        "{my} weekly review is on {v}.", "{my} review meeting is on {v}.", "{my} team meeting is on {v}.",
        "{my} status meeting is at {v}.", "{my} planning session takes place on {v}.", "{my} check-in is on {v}.",
    ),
    "rent": (
        "{my} rent is {v} a month.", "{I} [pay|pays] {v} in rent.", "{my} monthly rent is {v}.",
        "The rent of {my} flat is {v}.", "{my} flat costs {v} a month.", "{I} [pay|pays] {v} a month for the flat.",
    ),
    "password": (
        "{my} wifi password is {v}.", "The password of {my} wifi is {v}.", "{my} network password is {v}.",
        "{my} wifi key is {v}.", "{my} router password is {v}.", "{v} is {my} wifi password.",
    ),
}  # fmt: skip
CHANGES: dict[str, tuple[str, ...]] = {
    "home": (
        "{I} moved to {v}.", "{I} [live|lives] in {v} now.", "{I} relocated to {v}.", "{my} home is now in {v}.",
    ),
    "employer": (
        "{I} now [work|works] at {v}.", "{I} joined {v}.", "{I} started a job at {v}.", "{my} new employer is {v}.",
    ),
    "job": (
        "{I} now [work|works] as {a} {v}.", "{I} got a job as {a} {v}.", "{I} was promoted to {v}.",
        "{my} job is now {a} {v}.",
    ),
    "colour": (
        "{my} favourite colour is now {v}.", "{my} favourite colour is {v} these days.",
        "{my} new favourite colour is {v}.", "{my} favourite colour has changed to {v}.",
    ),
    "food": (
        "{my} favourite food is now {v}.", "{my} new favourite food is {v}.",
        "These days {my} favourite food is {v}.", "{my} favourite dish is {v} now.",
    ),
    "phone": (
        "{my} new phone number is {v}.", "{my} phone number is now {v}.", "{my} phone number has changed to {v}.",
        "{my} number is {v} from today.",
    ),
    "office": (
        "{my} office is now room {v}.", "{my} office moved to room {v}.", "{my} desk is now in room {v}.",
        "{I} now [sit|sits] in room {v}.",
    ),
    "car": (
        "{I} now [drive|drives] a {v}.", "{my} new car is a {v}.", "{my} car is now a {v}.",
        "{I} [drive|drives] a {v} these days.",
    ),
    "boss": (
        "{my} boss is now {v}.", "{my} new boss is {v}.", "{my} manager is now {v}.",
        "{I} now [report|reports] to {v}.",
    ),
    "meeting": (
        "{my} weekly review is now on {v}.", "{my} weekly review was moved to {v}.",
        "{my} review meeting has been moved to {v}.", "{my} team meeting is now on {v}.",
    ),
    "rent": (
        "{my} rent is now {v} a month.", "{my} rent went up to {v} a month.", "{I} now [pay|pays] {v} in rent.",
        "{my} new rent is {v} a month.",
    ),
    "password": (
        "{my} wifi password is now {v}.", "{my} new wifi password is {v}.", "{my} wifi password has changed to {v}.",
        "{my} network password is {v} now.",
    ),
}  # fmt: skip
TRAPS: dict[str, tuple[str, ...]] = {
    "home": (
        "{I} visited {v} last weekend.", "{I} would love to live in {v} one day.", "{I} flew to {v} for a wedding.",
        "{I} watched a film about {v}.",
    ),
    "employer": (
        "{I} had an interview at {v}.", "{I} bought shares of {v}.", "{I} read an article about {v}.",
        "{I} might apply for a job at {v}.",
    ),
    "job": (
        "{I} met {a} {v} on the train.", "{I} wanted to be {a} {v} as a child.", "{I} talked to {a} {v} yesterday.",
        "{I} dreamed of being {a} {v}.",
    ),
    "colour": (
        "{I} bought a {v} scarf.", "{I} painted the fence {v}.", "{I} found a {v} umbrella.", "{I} wore a {v} hat.",
    ),
    "food": (
        "{I} cooked {v} on Sunday.", "{I} ordered {v} for lunch.", "{I} tried {v} at the fair.",
        "{I} burned the {v}.",
    ),
    "phone": (
        "{I} got a call from {v}.", "{I} dialled {v} by mistake.", "{I} wrote {v} on a napkin.",
        "{I} blocked the number {v}.",
    ),
    "office": (
        "{I} waited outside room {v}.", "{I} booked room {v} for the workshop.", "{I} found a wallet in room {v}.",
        "{I} cleaned room {v}.",
    ),
    "car": (
        "{I} rented a {v} for a day.", "{I} saw a {v} in the street.", "{I} washed a {v}.",
        "{I} raced against a {v}.",
    ),
    "boss": (
        "{I} had coffee with {v}.", "{I} met {v} at a party.", "{I} played chess with {v}.",
        "{I} called {v} yesterday.",
    ),
    "meeting": (
        "{I} went to the dentist on {v}.", "{I} missed a train on {v}.", "{I} saw a play on {v}.",
        "{I} ran a race on {v}.",
    ),
    "rent": (
        "{I} spent {v} on a bike.", "{I} won {v} in a raffle.", "{I} paid {v} for a holiday.",
        "{I} lost {v} at cards.",
    ),
    "password": (
        "{I} saw {v} on a poster.", "{I} named the boat {v}.", "{I} wrote a story called {v}.",
        "{I} typed {v} twice.",
    ),
}  # fmt: skip
ASKED = {
    "home": "Where does {p} live",
    "employer": "Whom does {p} work for",
    "job": "What is {p}'s job",
    "colour": "What is {p}'s favourite colour",
    "food": "What is {p}'s favourite food",
    "phone": "What is {p}'s phone number",
    "office": "In which room does {p} sit",
    "car": "Which car does {p} drive",
    "boss": "Who is {p}'s boss",
    "meeting": "When is {p}'s weekly review",
    "rent": "How much rent does {p} pay",
    "password": "What is {p}'s wifi password",
}  # fmt: skip
WHY = {
    "home": "Why does {p} no longer live in {v}",
    "employer": "Why does {p} no longer work for {v}",
    "job": "Why is {p} no longer {a} {v}",
    "colour": "Why is {v} no longer {p}'s favourite colour",
    "food": "Why is {v} no longer {p}'s favourite food",
    "phone": "Why is {v} no longer {p}'s phone number",
    "office": "Why does {p} no longer sit in room {v}",
    "car": "Why does {p} no longer drive a {v}",
    "boss": "Why is {v} no longer {p}'s boss",
    "meeting": "Why is {p}'s weekly review no longer on {v}",
    "rent": "Why is {p}'s rent no longer {v}",
    "password": "Why is {v} no longer {p}'s wifi password",
}  # fmt: skip
BECAUSE = ("because of the {v}", "due to the {v}", "on account of the {v}", "owing to the {v}")
EVENTS = (
    "{I} had to deal with {a} {v}.", "{my} week was all about {a} {v}.", "{I} [have|has] been busy with {a} {v}.",
    "There was {a} {v}, and {I} could think of little else.",
)  # fmt: skip
CAUSES = (
    "flood lawsuit earthquake strike merger burglary fire divorce allergy injury scholarship inheritance lottery "
    "layoff marathon hurricane renovation feud epidemic audit scandal accident diagnosis festival eviction reunion "
    "retirement robbery blizzard drought heatwave infestation leak blackout election boycott wager dare quarrel "
    "pilgrimage sabbatical apprenticeship exam surgery pregnancy adoption engagement graduation bankruptcy takeover "
    "shortage tournament auction exhibition storm landslide avalanche sinkhole curfew inspection"
)
ASKED_OTHERWISE = {  # the same questions in words that no rule was written against: for reporting alone
    "home": "What city does {p} call home",
    "employer": "Which company pays {p}'s salary",
    "job": "How does {p} earn a living",
    "colour": "Of all colours, which one does {p} like best",
    "food": "Given the choice, what would {p} eat",
    "phone": "Under which number can one reach {p}",
    "office": "Behind which door is {p} to be found at work",
    "car": "What does {p} get around in",
    "boss": "To whom does {p} answer at work",
    "meeting": "At what time does {p} sit down with the team each week",
    "rent": "What does {p}'s flat cost each month",
    "password": "How does a guest get into {p}'s wifi",
}
ASKED_IN_DEVELOPMENT = {  # once more in other words: to develop on, so that the others stay unseen
    "home": "In what place is {p} settled",
    "employer": "Whose payroll is {p} on",
    "job": "What sort of work does {p} do",
    "colour": "If {p} could paint a wall, what shade would it be",
    "food": "What dish makes {p} happiest",
    "phone": "What does one dial to get hold of {p}",
    "office": "Where in the building would one look for {p}",
    "car": "What make of vehicle does {p} own",
    "boss": "Who tells {p} what to do at work",
    "meeting": "What slot is set aside for {p}'s review every week",
    "rent": "What does {p} hand over to the landlord",
    "password": "What would one type to get online at {p}'s",
}
WORDINGS = {"plain": ASKED, "otherwise": ASKED_OTHERWISE, "development": ASKED_IN_DEVELOPMENT}
POOLS = {
    "home": "Paris Rome Oslo Lisbon Vienna Dublin Prague Athens Madrid Berlin Zurich Geneva Porto Lyon Turin Bergen "
    "Cork Ghent Bruges Krakow Leeds York Bath Seville Malaga Utrecht Basel Graz Split Riga Tallinn Vilnius "
    "Warsaw Sofia Naples Bari Nantes Brest Lille Dijon",
    "employer": "Acme Globex Initech Umbrella Hooli Stark Wayne Wonka Cyberdyne Tyrell Aperture Vandelay Soylent "
                "Oscorp "
    "Nakatomi Gringotts Monarch Sterling Pendant Prestige Dunder Bluth Massive Virtucon Zorin Dynamo Octan "
    "Spectre Weyland Veridian",
    "job": "nurse teacher baker plumber librarian chemist gardener painter translator surveyor carpenter dentist "
    "electrician florist journalist midwife optician pharmacist potter tailor welder accountant architect "
    "barber beekeeper butcher cartographer cobbler curator editor",
    "colour": "red blue green yellow orange purple violet pink black white grey brown beige turquoise teal navy cyan "
    "magenta maroon gold silver crimson scarlet indigo lavender cream khaki burgundy coral olive",
    "food": "pizza sushi paella ramen lasagne risotto curry goulash ceviche tacos falafel gnocchi moussaka biryani "
    "pierogi ratatouille couscous dumplings fondue gazpacho hummus kebab laksa pad-thai pho poutine quiche "
    "tagine tempura waffles",
    "car": "Honda Tesla Volvo Skoda Toyota Fiat Renault Peugeot Mazda Kia Subaru Saab Lancia Dacia Seat Opel Audi "
    "Jaguar Bentley Lotus Nissan Suzuki Lexus Citroen Chrysler Cadillac Buick Dodge Jeep Rover",
    "boss": "Karen Tobias Ingrid Oscar Matilda Quentin Rosalind Stefan Ursula Victor Wanda Xavier Yvonne Zoltan "
            "Agatha "
    "Bertram Cordelia Desmond Edith Fergus Gudrun Hector Imogen Jasper Kirsten Leopold Miriam Nigel Olga "
    "Percival",
    "password": "swordfish hunter2 opensesame trustno1 letmein7 bluebird9 tangerine4 walrus88 pancake3 moonrise5 "
                "tulip42 "
    "kestrel1 oakleaf6 saffron2 thimble8 lantern3 marble77 ribbon5 cobalt9 juniper4 pebble21 velvet6 quartz3 "
    "maple19 falcon8 nectar2 harbor7 cinder5 willow66 ember12",
}  # fmt: skip
CHATTER = (
    "How was your week?", "That sounds lovely.", "Thanks, that helps a lot!", "The weather has been awful.",
    "Ha, I know what you mean.", "We should have lunch some time.", "I slept badly last night.",
    "What do you think of the new bakery?", "Good luck with that!", "The train was late again.",
    "I can't believe it's nearly the holidays.", "Did you see the game?", "I finally cleaned the kitchen.",
    "My back hurts a little.", "The neighbours were loud.", "I forgot my umbrella.",
    "Let's talk about it another time.", "That film was too long.", "I had three cups of coffee already.",
    "The cat knocked over a vase.",
)  # fmt: skip
PREFIXES = ("By the way, ", "Oh, ", "Just so you know, ", "As I said, ", "Well, ", "You know, ")
