"""Names of people and places, written for this package: features of the name model and material of its sentences.

Deliberately short (a few hundred each, many cultures): the model shall learn what stands around a name, not the name.
"""

from __future__ import annotations

FIRST_NAMES = """
James Mary John Patricia Robert Jennifer Michael Linda William Elizabeth David Barbara Richard Susan Joseph Jessica
Thomas Sarah Charles Karen Christopher Lisa Daniel Nancy Matthew Betty Anthony Margaret Mark Sandra Donald Ashley Steven
Kimberly Paul Emily Andrew Donna Joshua Michelle Kenneth Carol Kevin Amanda Brian Melissa George Deborah Edward Stephanie
Ronald Rebecca Timothy Laura Jason Sharon Jeffrey Cynthia Ryan Kathleen Jacob Amy Gary Angela Nicholas Anna Eric Emma
Jonathan Nicole Stephen Samantha Larry Katherine Justin Christine Scott Helen Brandon Rachel Benjamin Carolyn Samuel Janet
Gregory Catherine Frank Maria Alexander Heather Raymond Diane Patrick Olivia Jack Julie Dennis Joyce Jerry Victoria Tyler
Kelly Aaron Christina Henry Joan Adam Evelyn Douglas Lauren Nathan Judith Peter Megan Zachary Alice Walter Jean Kyle Ruth
Oliver Harry Charlie Freya Poppy Isla Alfie Archie Imogen Nigel Graham Fiona Callum Hamish Siobhan Niamh Aoife Declan Sean
Hans Jürgen Klaus Wolfgang Günther Heike Ursula Sabine Birgit Anke Stefan Dieter Matthias Lukas Jonas Leonie Hannah Katja
Pierre Jacques François Camille Chloé Benoît Élodie Aurélie Mathieu Thierry Isabelle Sylvie Nathalie Yves Amélie Hugo Louis
José Juan Carlos Miguel Pablo Javier Lucía Carmen Pilar Dolores Álvaro Sofía Martín Diego Alejandra Ximena Rocío Iñigo Inés
Giovanni Giulia Francesca Marco Luca Matteo Chiara Alessandro Paolo Silvia Elena Giorgio Lorenzo Bianca Ludovica Enzo
João Pedro Tiago Beatriz Mariana Gonçalo Inácio Rafaela Thiago Letícia Fernanda Rui Joana Catarina Vasco Luísa Caio
Lars Sven Anders Björn Ingrid Astrid Karin Gunnar Håkan Åsa Linnea Nils Erik Mette Søren Jens Rasmus Kirsten Lone Frida
Øyvind Sigrid Torbjørn Ragnhild Kjell Magnus Solveig Jón Guðrún Sigurður Ólafur Björk Þóra Einar Matti Aino Eino Päivi Jukka
Liisa Veikko Tuomas Kaisa Seppo Riitta Tõnu Kadri Jaan Piret Jānis Inga Mārtiņš Vytautas Rūta Jonas Daiva Willem Sanne Joost
Marieke Pieter Femke Bram Lotte Ruud Anouk Piotr Agnieszka Krzysztof Małgorzata Paweł Katarzyna Tomasz Zofia Wojciech Łukasz
Jan Petr Jiří Tereza Lenka Zdeněk Radka Miroslav Juraj Zuzana László Ágnes Ferenc Katalin Zoltán Eszter Gábor Ildikó Ion
Andrei Ioana Mihai Elena Radu Ivan Dmitri Sergei Natalia Svetlana Olga Vladimir Tatyana Boris Ludmila Anastasia Yuri Oksana
Taras Marko Nikola Ivana Zoran Jelena Dragan Tihana Goran Mirjana Tomislav Petar Vesna Matej Špela Nikos Eleni Giorgos Dimitra
Yannis Katerina Spyros Mehmet Ayşe Mustafa Fatma Emre Zeynep Murat Elif Ahmed Fatima Mohammed Aisha Omar Layla Hassan Khadija
Youssef Amina Ali Zainab Karim Noor Ibrahim Samira Tariq Salma Rania Bilal David Yael Moshe Tamar Avi Shira Noam Reza Parisa
Cyrus Shirin Farhad Rahul Priya Amit Anjali Vijay Sunita Arjun Lakshmi Suresh Deepa Rajesh Kavita Sanjay Meera Anil Pooja
Nikhil Divya Imran Ayesha Zahid Nasreen Wei Li Ming Xiu Jun Mei Hao Ling Yan Feng Jing Tao Hiroshi Yuki Takashi Sakura Kenji
Haruka Satoshi Aiko Daisuke Naoko Min-jun Ji-woo Seo-yeon Hyun Soo-jin Nguyen Linh Minh Thuy Anh Somchai Ratana Putu Dewi
Γιώργος Μαρία Ελένη Κώστας Δημήτρης Νίκος Анна Иван Сергей Ольга Мария Алексей Hleb Misty Chad Caleb Sheila Shane Brad Earl
Bryan Chelsea Crystal Amber Dawn Grace Hope Joy Mason Hunter Chase Faith Budi Siti Kwame Akosua Chidi Ngozi Amara Oluwaseun Adebayo Folake Thabo Nomsa Sipho Zanele Wanjiru Kamau Achieng Abebe Tigist
Kofi Yaw Fatou Mamadou Aminata Ousmane Moana Aroha Tane Wiremu Kahu Kai Nalani Lupe Sione Joaquín Ximena Guadalupe Refugio
""".split()  # noqa: SIM905

LAST_NAMES = """
Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez Wilson Anderson Thomas
Taylor Moore Jackson Martin Lee Perez Thompson White Harris Sanchez Clark Ramirez Lewis Robinson Walker Young Allen King
Wright Scott Torres Nguyen Hill Flores Green Adams Nelson Baker Hall Rivera Campbell Mitchell Carter Roberts Gomez Phillips
Evans Turner Diaz Parker Cruz Edwards Collins Reyes Stewart Morris Morales Murphy Cook Rogers Gutierrez Ortiz Morgan Cooper
Peterson Bailey Reed Kelly Howard Ramos Kim Cox Ward Richardson Watson Brooks Chavez Wood Bennett Gray Mendoza Ruiz Hughes
Price Alvarez Castillo Sanders Patel Myers Long Ross Foster Jimenez O'Brien O'Connor MacDonald McCarthy Fitzgerald Gallagher
Whitfield Pemberton Ashworth Blackwood Hargreaves Winterbottom Cholmondeley Featherstone Llewellyn Griffiths Davies Cameron
Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann Schäfer Koch Bauer Richter Klein Wolf Schröder
Neumann Schwarz Zimmermann Krüger Hofmann Lange Krause Lehmann Köhler Huber Gruber Steiner Moser Egger Baumgartner Zürcher
Dubois Durand Leroy Moreau Laurent Lefebvre Michel Bertrand Roux Fournier Girard Bonnet Rousseau Mercier Gauthier Lambert
Rossi Russo Ferrari Esposito Bianchi Romano Colombo Ricci Marino Greco Bruno Gallo Conti Costa Mancini Lombardi Barbieri
Silva Santos Oliveira Souza Pereira Lima Carvalho Almeida Ferreira Ribeiro Rocha Dias Nunes Mendes Cardoso Teixeira Fonseca
García Fernández López Álvarez Muñoz Romero Gutiérrez Navarro Domínguez Gil Vázquez Serrano Molina Suárez Ortega Castro
Andersson Johansson Karlsson Nilsson Eriksson Larsson Olsson Persson Svensson Gustafsson Lindberg Lundqvist Bergström Åkesson
Hansen Jensen Nielsen Pedersen Christensen Sørensen Rasmussen Jørgensen Møller Knudsen Haugen Bakken Olsen Dahl Strand
Jónsson Guðmundsdóttir Sigurðsson Magnúsdóttir Korhonen Virtanen Mäkinen Nieminen Hämäläinen Laine Heikkinen Koskinen Järvinen
Tamm Saar Mägi Kask Bērziņš Kalniņš Kazlauskas Petrauskaitė de Vries Jansen Bakker Visser Smit Meijer Mulder Dekker Peeters
Nowak Kowalski Wiśniewska Wójcik Kowalczyk Kamiński Zieliński Szymańska Dąbrowski Novák Svoboda Novotná Dvořák Černý Procházka
Horváth Kovács Szabó Tóth Nagy Varga Kiss Molnár Németh Farkas Popescu Ionescu Dumitru Ivanov Petrova Smirnov Kuznetsova
Volkov Sokolova Popov Lebedeva Shevchenko Kovalenko Bondarenko Tkachenko Horvat Kovačević Babić Marić Jurić Novaković Petrović
Jovanović Nikolić Zupančič Krajnc Papadopoulos Georgiou Nikolaidis Vasileiou Yılmaz Kaya Demir Şahin Çelik Öztürk Hassan
Ibrahim Abdullah Hussein Mahmoud Mansour Haddad Khoury Nasser Farouk Ben-David Cohen Levi Mizrahi Friedman Katz Shapiro
Hosseini Ahmadi Karimi Rezaei Singh Kumar Sharma Gupta Shah Mehta Reddy Rao Iyer Nair Chatterjee Banerjee Desai Joshi Khan
Malik Qureshi Chaudhry Begum Rahman Wang Zhang Liu Chen Yang Huang Zhao Wu Zhou Xu Sun Ma Zhu Guo Lin Tanaka Suzuki Takahashi
Watanabe Yamamoto Nakamura Kobayashi Kato Yoshida Park Choi Jung Kang Cho Tran Pham Hoang Vu Santoso Wijaya Hartono Reyes
Bautista Okafor Adeyemi Eze Okonkwo Mensah Owusu Boateng Dlamini Nkosi Mokoena Mwangi Otieno Kariuki Tesfaye Bekele Diallo
Παπαδόπουλος Γεωργίου Νικολάου Иванов Петрова Кузнецов Key Rich Wise Page Love Day Fox Stone West Waters Traoré Ndiaye Sow Keïta Tuhoe Ngata Kawharu Kealoha Taufa
""".split()  # noqa: SIM905

CITIES = """
London Paris Berlin Madrid Rome Vienna Prague Budapest Warsaw Lisbon Dublin Athens Stockholm Oslo Copenhagen Helsinki Tallinn
Riga Vilnius Brussels Amsterdam Rotterdam Antwerp Ghent Hamburg Munich Cologne Frankfurt Stuttgart Leipzig Dresden Nuremberg
Bremen Zürich Geneva Basel Bern Lausanne Lyon Marseille Toulouse Nice Nantes Bordeaux Lille Barcelona Valencia Seville Bilbao
Málaga Zaragoza Milan Naples Turin Florence Venice Bologna Genoa Palermo Porto Braga Coimbra Faro Kraków Gdańsk Wrocław Poznań
Brno Ostrava Bratislava Košice Debrecen Szeged Pécs Bucharest Cluj Sofia Belgrade Zagreb Split Ljubljana Maribor Skopje
Thessaloniki Patras Istanbul Ankara Izmir Moscow Kyiv Lviv Odesa Minsk Manchester Birmingham Liverpool Leeds Glasgow Edinburgh
Cardiff Bristol Sheffield Newcastle Nottingham Oxford Cambridge Brighton York Belfast Cork Galway Limerick Bergen Trondheim
Stavanger Gothenburg Malmö Uppsala Aarhus Odense Aalborg Tampere Turku Oulu Espoo Reykjavík Akureyri Tartu Pärnu New_York
Los_Angeles Chicago Houston Phoenix Philadelphia San_Antonio San_Diego Dallas Austin San_Francisco Seattle Denver Boston
Nashville Portland Las_Vegas Detroit Memphis Baltimore Milwaukee Albuquerque Tucson Sacramento Atlanta Miami Oakland
Minneapolis Tulsa Cleveland Tampa Pittsburgh Cincinnati Orlando Honolulu Springfield Rochester Boise Toronto Montreal Vancouver
Calgary Ottawa Edmonton Quebec Winnipeg Halifax Mexico_City Guadalajara Monterrey Bogotá Lima Quito Caracas Santiago
Buenos_Aires Córdoba Montevideo São_Paulo Rio_de_Janeiro Salvador Recife Porto_Alegre Havana Sydney Melbourne Brisbane Perth
Adelaide Hobart Canberra Darwin Auckland Wellington Christchurch Dunedin Hamilton Tokyo Osaka Kyoto Nagoya Sapporo Seoul Busan
Beijing Shanghai Shenzhen Guangzhou Chengdu Hong_Kong Taipei Singapore Bangkok Hanoi Jakarta Manila Kuala_Lumpur Delhi Mumbai
Bangalore Chennai Kolkata Hyderabad Pune Jaipur Lucknow Karachi Lahore Dhaka Colombo Kathmandu Tehran Baghdad Dubai Riyadh
Doha Amman Beirut Damascus Jerusalem Tel_Aviv Haifa Cairo Alexandria Tunis Algiers Casablanca Rabat Lagos Abuja Accra Nairobi
Kampala Addis_Ababa Johannesburg Cape_Town Durban Pretoria Harare Lusaka Dakar Kinshasa Luanda Nicosia Limassol Valletta Nuuk
Αθήνα Λευκωσία Πάφος Θεσσαλονίκη Λάρνακα Λεμεσός ΛΑΡΝΑΚΑ Москва Киев Innsbruck Graz Linz Salzburg Klagenfurt Liège Namur Bruges Utrecht Eindhoven Groningen Funchal Setúbal Nazaré Óbidos
""".replace("_", "\u00a0").split(" ")
CITIES = [city.replace("\u00a0", " ") for part in CITIES for city in part.split("\n") if city]

COUNTRIES = [
    country.strip()
    for country in """
Afghanistan,Albania,Algeria,Andorra,Angola,Argentina,Armenia,Australia,Austria,Azerbaijan,Bahamas,Bahrain,Bangladesh,
Belarus,Belgium,Belize,Bolivia,Bosnia and Herzegovina,Botswana,Brazil,Bulgaria,Cambodia,Cameroon,Canada,Chile,China,Colombia,
Costa Rica,Croatia,Cuba,Cyprus,Czech Republic,Czechia,Denmark,Dominican Republic,Ecuador,Egypt,El Salvador,Estonia,Ethiopia,
Fiji,Finland,France,Georgia,Germany,Ghana,Greece,Greenland,Guatemala,Haiti,Honduras,Hong Kong,Hungary,Iceland,India,Indonesia,
Iran,Iraq,Ireland,Israel,Italy,Jamaica,Japan,Jordan,Kazakhstan,Kenya,Kuwait,Laos,Latvia,Lebanon,Libya,Liechtenstein,Lithuania,
Luxembourg,Madagascar,Malaysia,Mali,Malta,Mexico,Moldova,Monaco,Mongolia,Montenegro,Morocco,Mozambique,Myanmar,Namibia,Nepal,
Netherlands,New Zealand,Nicaragua,Nigeria,North Korea,Norway,Oman,Pakistan,Palestine,Panama,Paraguay,Peru,Philippines,Poland,
Portugal,Qatar,Romania,Russia,Rwanda,Saudi Arabia,Scotland,Senegal,Serbia,Singapore,Slovakia,Slovenia,Somalia,South Africa,
South Korea,Spain,Sri Lanka,Sudan,Sweden,Switzerland,Syria,Taiwan,Tanzania,Thailand,Tunisia,Turkey,Uganda,Ukraine,England,Wales,
United Arab Emirates,United Kingdom,United States,United States of America,Uruguay,Uzbekistan,Venezuela,Vietnam,Yemen,Zambia,
Zimbabwe,Northern Ireland,Europe,Asia,Africa,South America,North America,USA,UK,U.S.,U.K.,California,Texas,Florida,Ohio,
Pennsylvania,Michigan,Virginia,Arizona,Massachusetts,Colorado,Minnesota,Oregon,Bavaria,Catalonia,Ontario,Alberta,Queensland
""".replace("\n", "").split(",")
]

GROUPS = """
American British English Scottish Irish Welsh French German Italian Spanish Portuguese Dutch Belgian Swiss Austrian Polish Czech
Slovak Hungarian Romanian Bulgarian Greek Turkish Russian Ukrainian Belarusian Swedish Norwegian Danish Finnish Icelandic Estonian
Latvian Lithuanian Croatian Serbian Slovenian Bosnian Albanian Macedonian Chechen Georgian Armenian Azerbaijani Kazakh Uzbek
Iranian Persian Iraqi Syrian Lebanese Israeli Palestinian Jordanian Saudi Egyptian Libyan Tunisian Algerian Moroccan Sudanese
Ethiopian Somali Kenyan Ugandan Nigerian Ghanaian Senegalese Congolese Zimbabwean Indian Pakistani Bangladeshi Nepalese Tibetan
Chinese Japanese Korean Vietnamese Thai Cambodian Malaysian Indonesian Filipino Mongolian Taiwanese Australian Canadian Mexican
Brazilian Argentine Argentinian Chilean Peruvian Colombian Venezuelan Cuban Jamaican Haitian Puerto-Rican Hawaiian European
African Asian Arab Kurdish Basque Catalan Cornish Flemish Romani Jewish Christian Catholic Protestant Muslim Islamic Hindu
Buddhist Sikh Mormon Lutheran Orthodox Republican Democrat Democratic Conservative Labour Communist Socialist Marxist Americans
Germans Italians Russians Greeks Turks Indians Muslims Christians Jews Hindus Catholics Republicans Democrats Canadians
Greenlander Greenlandic Maltese Cypriot Maori Zulu Yoruba Igbo Tamil Punjabi Bengali Cherokee Navajo Latino Hispanic Caucasian
""".split()  # noqa: SIM905

STREETS_BEFORE = (  # noqa: SIM905
    "Rue,Avenue,Boulevard,Place,Chemin,Via,Viale,Piazza,Corso,Vicolo,Calle,Avenida,Paseo,Plaza,Camino,Rua,Travessa,Largo,Praça,"
    "Rúa,ul.,ul.,Av,Ave,os.,al.,pl.,ulica,aleja,ulice,Strada,Bulevardul,Jalan,Str.,Λεωφόρος,Οδός,ул."
).split(",")
STREETS_AFTER = (  # noqa: SIM905
    "Street,St,St.,Road,Rd,Rd.,Avenue,Ave,Ave.,Boulevard,Blvd,Lane,Ln,Drive,Dr,Court,Ct,Place,Pl,Terrace,Way,Close,Crescent,Square,"
    "Parade,Circle,Highway,Parkway,Hill,Row,Mews,Grove,Gardens,Walk,Straße,Strasse,Str.,Weg,Platz,Gasse,Allee,Ring,utca,u.,út,tér,"
    "körút,katu,tie,gata,gatan,vägen,vei,veien,gate,gade,vej,straat,laan,plein,weg,tee,tänav,iela,gatvė,nám.,ulica,Caddesi,Sokak,Marg,Nagar,"
    "Crossroad,Ridge,Path,Trail,Alley,Loop,Pass,Plaza,Turnpike,Passage,Estates,Manor,Viaduct,Tunnel,Springs,Mills,Meadow,Points,Gateway,Cliffs"
).split(",")
STREETS_JOINED = (  # noqa: SIM905
    "straße strasse weg platz gasse allee katu tie kuja polku gatan vägen gade vej vænget gate veien vegen stræde stræti gata braut "
    "straat laan plein dijk kade steenweg utca tänav iela ulica gränd backen stigen holt"
).split()
COMPANY_ENDS = (  # noqa: SIM905
    "Inc,Inc.,Ltd,Ltd.,LLC,Corp,Corp.,Corporation,Company,Co.,GmbH,AG,S.A.,SA,BV,AB,AS,Oy,PLC,plc,Group,Holdings,Partners,"
    "Associates,Bank,Insurance,Technologies,Solutions,Systems,Services,Software,Labs,Media,Energy,Capital,Consulting,Networks,"
    "Industries,International,Financial,Health,Analytics,Pharma,Motors,Airlines,Foundation,Institute,University,Council,Agency"
).split(",")
JOBS = """
engineer,software engineer,accountant,nurse,teacher,lawyer,director,managing director,vice president,chief executive officer,
sales manager,project manager,office manager,data analyst,technician,consultant,architect,designer,graphic designer,chemist,
product manager,editor,technical editor,research assistant,administrator,systems administrator,surgeon,electrician,pharmacist,
marketing coordinator,recruiter,librarian,auditor,financial advisor,professor,senior developer,human resources manager,
bus driver,forklift operator,machine operator,postal clerk,file clerk,bank clerk,dental hygienist,physical therapist,midwife,
childcare worker,security guard,police officer,firefighter,carpenter,plumber,welder,bricklayer,roofer,butcher,baker,chef,waiter,
bartender,farm worker,fisherman,forester,zoologist,soil scientist,food scientist,economist,statistician,mathematician,translator,
interpreter,travel agent,flight attendant,air traffic controller,insurance agent,real estate broker,loan officer,tax inspector,
stock clerk,shop assistant,telephone operator,printing machine operator,sewing machine operator,textile cutter,glass blower,
elementary school teacher,kindergarten teacher,school counselor,social worker,probation officer,court reporter,paralegal,
veterinarian,optician,radiologist,anesthesiologist,dietitian,occupational therapist,speech therapist,medical secretary
""".replace("\n", "").split(",")

MORE_GROUPS = """
Angolan Bahamian Bahraini Barbadian Beninese Bhutanese Bolivian Botswanan Bruneian Burmese Burundian Cameroonian Chadian
Comorian Djiboutian Dominican Ecuadorian Emirati Equatorial-Guinean Eritrean Fijian Gabonese Gambian Grenadian Guatemalan
Guinean Guyanese Honduran Ivorian Kiribati Kosovar Kuwaiti Kyrgyz Laotian Lesothan Liberian Liechtensteiner Luxembourger
Malagasy Malawian Maldivian Malian Mauritanian Mauritian Moldovan Monegasque Montenegrin Mozambican Namibian Nauruan
Nicaraguan Nigerien Omani Palauan Panamanian Papuan Paraguayan Qatari Rwandan Salvadoran Samoan Sammarinese Seychellois
Singaporean Surinamese Swazi Tajik Tanzanian Togolese Tongan Trinidadian Turkmen Tuvaluan Uruguayan Vanuatuan Yemeni
Zambian Scots Scandinavian Nordic Baltic Slavic Balkan Caribbean Arabian Ottoman Roman Byzantine Celtic Gaelic Breton Frisian
Walloon Tyrolean Bavarian Prussian Saxon Sicilian Sardinian Tuscan Venetian Corsican Castilian Galician Andalusian Sami Inuit
Berber Tuareg Hausa Xhosa Swahili Amharic Pashtun Sinhalese Gujarati Marathi Telugu Malay Javanese Hmong Uyghur Tatar Cossack
Aboriginal Polynesian Apache Sioux Mayan Aztec Quechua Texan Californian Londoner Parisian Berliner Israelis Pakistanis
Iraqis Iranians Mexicans Canadians Australians Brazilians Koreans Ukrainians Africans Asians Europeans Arabs Kurds Swedes
Danes Finns Poles Scots Spaniards Frenchman Englishman Irishman Dutchman Welshman Shia Sunni Baptist Methodist Anglican
Evangelical Presbyterian Quaker Calvinist Jesuit Atheist Liberal Tory Whig Libertarian Leninist Maoist Fascist Nazi Zionist
""".split()  # noqa: SIM905
GROUPS = list(dict.fromkeys(GROUPS + MORE_GROUPS))

# Names of well-known firms and bodies, and the words and endings that such names are made of.
FIRMS = [
    firm.strip()
    for firm in """
Microsoft,Google,Amazon,Apple,Facebook,Meta,Netflix,Twitter,Intel,Nvidia,Oracle,Cisco,Adobe,Dell,IBM,SAP,Siemens,Bosch,Bayer,BASF,
Volkswagen,BMW,Daimler,Audi,Porsche,Toyota,Honda,Nissan,Mazda,Hyundai,Kia,Samsung,Sony,Panasonic,Toshiba,Canon,Nikon,Nintendo,
Philips,Nokia,Ericsson,Volvo,Ikea,Spotify,Skype,Lego,Maersk,Carlsberg,Heineken,Unilever,Nestlé,Novartis,Roche,Danone,Renault,
Peugeot,Michelin,Airbus,Boeing,Lockheed Martin,Rolls-Royce,Shell,Exxon,Chevron,Total,Gazprom,Aramco,Walmart,Tesco,Lidl,Aldi,
Carrefour,Costco,Target,Starbucks,McDonald's,Pepsi,Coca-Cola,Kraft,Kellogg,Procter & Gamble,Johnson & Johnson,Pfizer,Merck,
Barclays,HSBC,Lloyds,Santander,Deutsche Bank,Credit Suisse,Goldman Sachs,Morgan Stanley,Citibank,Wells Fargo,Visa,Mastercard,
PayPal,Uber,Lyft,Airbnb,Tesla,Ford,General Motors,General Electric,Verizon,Vodafone,Comcast,Reuters,Forbes,Disney,Pixar,
Lufthansa,Ryanair,EasyJet,KLM,Emirates,FedEx,DHL,UPS,Allianz,Axa,Zurich Insurance,Deloitte,KPMG,Accenture,McKinsey,Ernst & Young,
NATO,UNESCO,UNICEF,NASA,FBI,CIA,BBC,CNN,NBC,FIFA,UEFA,NBA,NFL,WHO,IMF,OECD,Interpol,Red Cross,World Bank,Oxfam,Greenpeace,
Harvard University,Oxford University,Cambridge University Press,Stanford,MIT,Yale,Princeton,Max Planck Institute,CERN,
Manchester United,Real Madrid,Chelsea,Arsenal,Liverpool,Barcelona,Juventus,Ajax,Celtic,Yankees,Lakers,Red Sox
""".replace("\n", "").split(",")
]
FIRM_WORDS = """
Health Data Credit Green Blue Smart Open Global Civic Energy Market Cloud Care Map Farm Home Social Legal Tax Solar Metro Urban
River Stone Bright Peak North Pacific Atlas Orbit Quantum Vector Nova Delta Summit Harbor Bridge Garden Lumen Pixel Signal
Trip Job Score Learn Book Trade Fund Bank Pay Loan Risk Audit Law Weather Climate Food Wine Fleet Auto Air Sky Water Bio Medi
Pharma Gene Edu Campus Press Media Radio Street Transit Cargo Parcel Postal Insight Metric Logic Code Soft Net Web Digital
First American National United Standard Liberty Pioneer Eagle Lion Phoenix Apex Zenith Alpha Omega Sigma Prime Core Next True
Clear Simple Rapid Swift Quick Easy Better Good Great Super Mega Micro Nano Inter Trans Omni Ever Pure Real Deep Red Silver
Gold Iron Steel Copper Diamond Crystal Ocean Island Mountain Forest Valley Lake Spring Meadow Oak Pine Cedar Maple Lotus Rose
Sun Moon Star Comet Rocket Jet Wing Wheel Gear Engine Power Volt Spark Flame Light Lamp Mirror Lens Vision Eye Ear Voice Talk
Chat Mail Post Letter Paper Print Page Word Text Story Song Tune Play Game Sport Team Club Union Guild League Alliance
Research Economic Chemical Medical Dental Clinical Nuclear Technical Advisory Equity Wealth Asset Venture Growth Investment
Realty Property Estate Housing Building Design Studio Works Craft Lab Factory Forge Mill Store Shop Mart Depot Supply Source
""".split()  # noqa: SIM905
FIRM_TAILS = (  # noqa: SIM905
    "ify,ly,io,ics,ware,soft,tech,hub,works,genix,eon,ora,ium,cast,logic,metrics,scape,point,base,sys,com,net,data,wise,mind,path,"
    "link,stack,flow,port,zen,box,bit,pedia,gram,space,watch,sense,view,line,vue,tron,dyne,max,plex,matic,labs,tel,nav,co,ix,ex,us,is,a,o"
).split(",")
FIRM_KINDS = (  # noqa: SIM905
    "Service,Services,Society,Association,Union,Trust,Board,Commission,Committee,Authority,Office,Center,Centre,Exchange,Investments,"
    "Advisors,Ventures,Laboratories,Research,Press,Times,News,Journal,TV,Radio,Records,Entertainment,Studios,Productions,Publishing,"
    "Airways,Railways,Brewery,Hospital,Clinic,School,College,Academy,Club,Orchestra,Choir,Band,Museum,Library,Church,Ministry,"
    "Department,Party,Federation,League,Cooperative,Workshop,Bakery,Stores,Foods,Logistics,Steel,Chemicals,Electronics,Robotics"
).split(",")
