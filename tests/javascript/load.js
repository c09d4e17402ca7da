// The scripts that need no page, in the order in which a page loads them: require("./load.js") gives `iclight`.

"use strict";

const fs = require("node:fs");
const path = require("node:path");

const FOLDER = path.join(__dirname, "..", "..", "javascript", "later");

const free = fs.readdirSync(FOLDER).filter((name) => /^([12]|7[0-4])/.test(name));
for (const name of free.toSorted()) require(path.join(FOLDER, name));

module.exports = globalThis.iclight;
