"""Hand-written decisions of the word table, where WordNet's hierarchy is not what a photo editor means.

`WORDS` and `WEAK` name lemmas of ImageNet classes, or words of the table, separated by commas. `WORDS` are
classes that show the word; `WEAK` are look-alikes and companions: the classifier has no class for the word.
"""

from __future__ import annotations


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WORDS: dict[str, str] = {
    # Names of COCO and PASCAL VOC whose WordNet cover is missing, too narrow or too wide.
    "car": "automobile, minivan, racer, grille",
    "motorcycle": "moped, motor scooter",
    "airplane": "airliner, warplane",
    "train": "bullet train, electric locomotive, steam locomotive, passenger car, freight car, trolley car",
    "truck": "fire engine, garbage truck, moving van, pickup, tow truck, trailer truck, police van",
    "boat": "canoe, fireboat, gondola, lifeboat, speedboat, yawl, catamaran, trimaran, schooner, liner, "
    "container ship, pirate",
    "stop sign": "street sign",
    "sheep": "ram, bighorn",
    "cow": "ox, water buffalo, bison",
    "elephant": "tusker, indian elephant, african elephant",
    "handbag": "purse, backpack, mailbag",
    "tie": "windsor tie, bow tie, bolo tie",
    "sports ball": "baseball, basketball, croquet ball, golf ball, ping pong ball, rugby ball, soccer ball, "
    "tennis ball, volleyball",
    "kite": "kite, parachute",
    "tennis racket": "racket",
    "bottle": "beer bottle, pill bottle, pop bottle, water bottle, wine bottle, water jug, whiskey jug",
    "wine glass": "goblet, red wine, beer glass",
    "cup": "cup, coffee mug, espresso, beaker",
    "knife": "cleaver, letter opener",
    "spoon": "wooden spoon, ladle",
    "bowl": "mixing bowl, soup bowl",
    "apple": "granny smith",
    "orange": "orange, lemon",
    "hot dog": "hotdog",
    "donut": "bagel, dough",
    "cake": "trifle, chocolate sauce",
    "chair": "barber chair, folding chair, rocking chair, throne",
    "couch": "studio couch",
    "potted plant": "pot",
    "bed": "four poster, studio couch, quilt",
    "table": "dining table, desk, pool table",
    "toilet": "toilet seat",
    "tv": "television, screen, monitor, home theater",
    "laptop": "laptop, notebook",
    "mouse": "computer mouse, hamster",
    "remote": "remote control",
    "keyboard": "computer keyboard, typewriter keyboard, space bar",
    "cell phone": "cellular telephone, ipod, hand held computer",
    "oven": "stove, microwave, rotisserie",
    "toaster": "toaster",
    "sink": "washbasin",
    "book": "comic book, book jacket",
    "clock": "analog clock, digital clock, wall clock",
    "monitor": "monitor, screen",
    "pitcher": "pitcher",
    "hair drier": "hand blower",
    "bicycle": "bicycle built for two, mountain bike, tricycle",
    # Other common words.
    "phone": "cell phone, dial telephone, pay phone",
    "computer": "desktop computer, laptop, notebook, screen, monitor",
    "glasses": "sunglass, sunglasses",
    "bag": "purse, backpack, mailbag, plastic bag, shopping basket",
    "hat": "cowboy hat, sombrero, bonnet, bearskin, mortarboard, bathing cap, shower cap",
    "cap": "bathing cap, shower cap, cowboy hat, mortarboard",
    "helmet": "crash helmet, football helmet, pickelhaube",
    "shoe": "running shoe, loafer, clog, sandal, cowboy boot",
    "boot": "cowboy boot",
    "shirt": "jersey",
    "jacket": "fur coat, trench coat, lab coat, suit",
    "coat": "fur coat, trench coat, lab coat",
    "dress": "gown, hoopskirt, overskirt, sarong, kimono",
    "skirt": "miniskirt, hoopskirt, overskirt",
    "pants": "jean, pajama",
    "mug": "coffee mug, cup",
    "glass": "beer glass, goblet, red wine",
    "plate": "plate",
    "fence": "picket fence, chainlink fence, worm fence",
    "sign": "street sign, traffic light, scoreboard",
    "lamp": "table lamp, lampshade, spotlight, torch",
    "flower": "daisy, yellow ladys slipper, pot",
    "mushroom": "mushroom, agaric, gyromitra, stinkhorn, earthstar, hen of the woods, bolete, coral fungus",
    "boulder": "stone wall",
    "house": "mobile home, boathouse, barn, palace, monastery",
    "building": "palace, library, church, barn, monastery, castle, mosque, cinema, restaurant, planetarium",
    "church": "church, monastery, bell cote",
    "tower": "beacon, bell cote, water tower, obelisk",
    "bridge": "suspension bridge, steel arch bridge, viaduct",
    "ship": "liner, container ship, pirate, schooner, aircraft carrier, wreck, fireboat",
    "van": "minivan, moving van, police van, recreational vehicle",
    "police car": "police van, cab",
    "taxi": "cab",
    "trailer": "trailer truck, mobile home, recreational vehicle",
    "tractor": "tractor, thresher, harvester",
    "vehicle": "car, truck, bus, motorcycle, bicycle, train, tractor, van, trailer, cart, tricycle",
    "cart": "horse cart, oxcart, shopping cart, jinrikisha",
    "stroller": "shopping cart, tricycle",
    "wheel": "car wheel",
    "statue": "pedestal, megalith, totem pole",
    "fountain": "fountain",
    "furniture": "chair, couch, bed, table, bookcase, wardrobe, chiffonier, china cabinet, medicine chest, "
    "file, crib, cradle, bassinet, entertainment center",
    "cabinet": "china cabinet, medicine chest, file, chiffonier, wardrobe",
    "shelf": "bookcase, plate rack",
    "curtain": "shower curtain, theater curtain, window shade",
    "cushion": "pillow, quilt",
    "blanket": "quilt, velvet",
    "rug": "doormat, prayer rug",
    "bathtub": "bathtub, tub",
    "bucket": "bucket, ashcan",
    "trash can": "ashcan",
    "box": "carton, chest, crate, mailbox",
    "toy": "teddy, piggy bank, jigsaw puzzle",
    "balloon": "balloon",
    "gun": "rifle, assault rifle, revolver",
    "sword": "letter opener, scabbard",
    "guitar": "acoustic guitar, electric guitar, banjo",
    "piano": "grand piano, upright",
    "drum": "drum, steel drum",
    "camera": "polaroid camera, reflex camera",
    "speaker": "loudspeaker",
    "watch": "digital watch, stopwatch",
    "monkey": "guenon, patas, baboon, macaque, langur, colobus, proboscis monkey, marmoset, capuchin, howler "
    "monkey, titi, spider monkey, squirrel monkey",
    "ape": "orangutan, gorilla, chimpanzee, gibbon, siamang",
    "duck": "drake, red breasted merganser, goose",
    "swan": "black swan, goose",
    "eagle": "bald eagle, kite, vulture",
    "hawk": "kite, bald eagle",
    "owl": "great grey owl",
    "chicken": "cock, hen",
    "crow": "magpie, jay",
    "seagull": "albatross, redshank",
    "parrot": "macaw, african grey, lorikeet, sulphur crested cockatoo",
    "pig": "hog, wild boar, warthog",
    "goat": "ibex, ram",
    "deer": "impala, gazelle, hartebeest",
    "donkey": "sorrel, zebra",
    "camel": "arabian camel, llama",
    "squirrel": "fox squirrel, marmot",
    "rat": "hamster, mink",
    "rabbit": "hare, wood rabbit, angora",
    "fish": "tench, goldfish, great white shark, tiger shark, hammerhead, electric ray, stingray, "
    "barracouta, eel, coho, rock beauty, anemone fish, sturgeon, gar, lionfish, puffer",
    "butterfly": "admiral, ringlet, monarch, cabbage butterfly, sulphur butterfly, lycaenid",
    "bee": "bee, fly",
    "turtle": "loggerhead, leatherback turtle, mud turtle, terrapin, box turtle",
    "stuffed animal": "teddy",
    "goalpost": "parallel bars",
    "drink": "espresso, red wine, eggnog, beer glass, coffee mug, pop bottle",
    "wine": "red wine, wine bottle",
    "beer": "beer glass, beer bottle",
    "coffee": "espresso, coffee mug",
    "burger": "cheeseburger",
    "bread": "french loaf, bagel, pretzel",
    "pasta": "carbonara",
    "soup": "consomme, soup bowl, hot pot",
    "salad": "broccoli, cucumber, guacamole",
    "fruit": "granny smith, strawberry, orange, lemon, fig, pineapple, banana, jackfruit, custard apple, pomegranate",
    "vegetable": "head cabbage, broccoli, cauliflower, zucchini, spaghetti squash, acorn squash, "
    "butternut squash, cucumber, artichoke, bell pepper, cardoon, mushroom",
    "pepper": "bell pepper",
    "corn": "corn, ear",
    "mountain": "alp, volcano",
    "rock": "cliff, stone wall",
    "beach": "seashore, sandbar",
    "ice cream": "ice cream",
}

WEAK: dict[str, str] = {
    "giraffe": "gazelle, impala, hartebeest, arabian camel, zebra, llama",
    "fire hydrant": "parking meter, gas pump, mailbox",
    "suitcase": "chest, mailbag, purse, backpack",
    "frisbee": "plate, parachute",
    "snowboard": "ski, bobsled",
    "skateboard": "motor scooter, running shoe",
    "surfboard": "paddle, canoe, speedboat, swimming trunks",
    "baseball bat": "baseball, ballplayer",
    "baseball glove": "mitten, baseball, ballplayer",
    "fork": "spatula, ladle, wooden spoon",
    "carrot": "cucumber, butternut squash, head cabbage",
    "scissors": "cleaver, letter opener, hatchet",
    "toothbrush": "paintbrush, lotion",
    "kangaroo": "wallaby",
    "rhinoceros": "hippopotamus, warthog, triceratops",
    "drone": "parachute, warplane",
    "helicopter": "warplane, airship",
    "wheelchair": "folding chair, barber chair, tricycle, jinrikisha",
    "ladder": "plate rack",
    "tent": "mountain tent, yurt",
    "pumpkin": "butternut squash, acorn squash, spaghetti squash",
    "grape": "fig, pomegranate",
    "tomato": "pomegranate, bell pepper",
    "egg": "eggnog, ping pong ball",
    "pole": "flagpole, obelisk",
    "headphone": "ipod, loudspeaker",
    "flag": "flagpole",
    "tire": "car wheel",
    "door": "sliding door",
    "window": "window screen, window shade",
    "lamppost": "spotlight, traffic light, flagpole",
}

# Said the same way (left, several separated by commas) as a word of the table (right).
ALIASES: dict[str, str] = {
    "motorbike, scooter, vespa": "motorcycle",
    "bike, pushbike": "bicycle",
    "aeroplane, plane, jet, aircraft": "airplane",
    "auto, automobile, suv, sedan, hatchback": "car",
    "lorry": "truck",
    "tram, streetcar, trolley": "trolley car",
    "locomotive": "train",
    "sofa, loveseat, settee": "couch",
    "television, tv set, tvmonitor, tv monitor, telly, flatscreen": "tv",
    "computer screen, computer monitor": "monitor",
    "pottedplant, houseplant, house plant, plant, flowerpot, planter, plant pot, flower pot": "potted plant",
    "diningtable, kitchen table": "dining table",
    "coffee table": "table",
    "mobile, mobile phone, cellphone, smartphone, iphone": "cell phone",
    "telephone": "phone",
    "fridge, freezer": "refrigerator",
    "notebook computer, macbook": "laptop",
    "puppy, pup, doggy, doggie, pooch": "dog",
    "kitten, kitty, pussycat, housecat": "cat",
    "cattle, calf, bull, heifer": "cow",
    "lamb, ewe": "sheep",
    "pony, foal, mare, stallion, colt": "horse",
    "piglet": "pig",
    "duckling, mallard": "duck",
    "chick, hen, rooster": "chicken",
    "bunny": "rabbit",
    "gull": "seagull",
    "pigeon, dove, sparrow, songbird": "bird",
    "rhino": "rhinoceros",
    "fawn, reindeer, moose, elk, stag, doe": "deer",
    "hairdryer, hair dryer, hairdrier, blow dryer": "hair drier",
    "doughnut": "donut",
    "hotdog": "hot dog",
    "hamburger": "burger",
    "teddy, teddybear, plush, plush toy, plushie": "teddy bear",
    "purse": "handbag",
    "luggage, baggage, trunk": "suitcase",
    "rucksack, knapsack": "backpack",
    "necktie": "tie",
    "sunglasses, spectacles, eyeglasses": "glasses",
    "sneaker, trainer, footwear, sandal": "shoe",
    "trousers, jeans": "pants",
    "t shirt, tshirt, tee, blouse": "shirt",
    "hoodie, jumper, pullover": "sweatshirt",
    "garbage can, bin, dustbin, trash bin, rubbish bin, wastebasket, waste bin": "trash can",
    "remote control": "remote",
    "football": "soccer ball",
    "ball": "sports ball",
    "racquet, tennis racquet": "tennis racket",
    "washbasin, basin": "sink",
    "stove, cooker": "oven",
    "vessel": "boat",
    "traffic signal, stoplight, traffic lights": "traffic light",
    "street sign, road sign, signpost, billboard, signboard": "sign",
    "hydrant": "fire hydrant",
    "wineglass": "wine glass",
    "seat, armchair, stool": "chair",
    "rubbish, garbage, trash": "trash can",
    "buggy, pram, pushchair, baby carriage": "stroller",
    "streetlight, street light, street lamp, lamp post, street lamp post": "lamppost",
    "parasol": "umbrella",
    "headphones, earphone": "headphone",
    "bra": "brassiere",
    "clothes, clothing item, outfit": "clothing",
    "store, shopfront, storefront": "shop",
    "flask, jug, thermos, flagon, soda bottle": "bottle",
    "pencil, marker, crayon, biro": "pen",
    "slipper, flip flop, high heel": "shoe",
    "temple, chapel, cathedral": "church",
    "barge, ferry, kayak, sailboat, sailing boat, rowboat, motorboat, yacht, dinghy, raft": "boat",
    "skyscraper, office building, hotel, apartment building, tower block": "building",
    "cottage, cabin, hut, villa": "house",
    "toast, loaf, bun": "bread",
    "toilet bowl": "toilet",
    "police officer, policeman, policewoman, cop, officer": "person",
}

PEOPLE: tuple[str, ...] = (
    *_split("""
    person people human man woman child kid boy girl guy lady gentleman bloke chap dude fellow baby infant
    toddler teenager teen adult couple crowd pedestrian passerby bystander onlooker tourist traveler
    traveller visitor guest passenger driver rider cyclist biker bicyclist motorcyclist skateboarder
    skater skier snowboarder surfer swimmer diver runner jogger walker hiker climber player athlete
    batter catcher umpire referee goalkeeper goalie coach bride groom bridesmaid husband wife mother
    father mom mum mummy dad daddy parent son daughter brother sister friend boyfriend girlfriend ex
    grandmother grandfather grandma grandpa grandparent uncle aunt cousin family photobomber
    photographer worker waiter waitress chef cook farmer soldier teacher student pupil doctor nurse
    fisherman businessman businesswoman vendor seller shopper customer dancer singer musician guitarist
    drummer performer actor actress model spectator audience stranger somebody someone anybody anyone
    everyone everybody figure silhouette individual folk youngster youth senior male female scuba diver
    monk priest clown fireman firefighter postman mailman ballerina astronaut cowboy cheerleader
    """),
    "scuba diver",
    "baseball player",
    "passer by",
    "best man",
    "football player",
)

# Covering a hundred unlike things, or not a thing that can be pointed at.
TOO_GENERIC: frozenset[str] = frozenset(
    _split("""
    entity thing object whole unit artifact artefact matter item instrumentality instrumentation device
    equipment implement structure construction covering commodity consumer_goods organism being
    living_thing animate_thing substance material facility way system product creation article
    conveyance transport container mechanism part piece stuff area place location surface sheet layer
    body block support establishment good goods plaything piece_of_material natural_object flora fauna
    food nutrient appliance tool machine side end top bottom front back left right middle center centre
    background foreground corner edge line point space hole spot strip mark works male female young head
    work plant_organ reproductive_structure natural_elevation formation geological_formation elevation
    shore land ground base foundation wall floor ceiling room hall mass bar key stop board case frame
    instrument protection apparatus cover site assembly medium publication craft decoration emblem drop
    depression shelter tube feed pool gate comfort clothes lens hip ear store office worm stand rule
    screen_door post kind home stock set pack game play fall fire light power control range field net
    bank court
    """)
)

# Known words with nothing to show for them: better refused than mistaken for a neighbour in spelling.
UNKNOWN: tuple[str, ...] = _split("""
    tree sky cloud shadow grass sun moon water sea ocean road street sidewalk pavement snow ice sand dirt
    background reflection text watermark logo caption date timestamp wire cable everything nothing
    something anything dragon unicorn ghost alien robot forest bush hedge leaf branch path track rain
    smoke fog light glare dust scratch cone papoose
    gypsy tramp lascar fellah
    """)
