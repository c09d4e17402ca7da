// Sketches for test_sketch.py to compare: JSON in, JSON out, pixels in base64.
//
// {"width", "height", "map": {"width", "height", "data"}, "own", "color", "photo", "background", "specs"}
// -> [pixels, ...], one for each spec

"use strict";

const fs = require("node:fs");
const {sketch} = require("./load.js");

const given = JSON.parse(fs.readFileSync(0, "utf8"));
const decoded = (text) => Uint8ClampedArray.from(Buffer.from(text, "base64"));
const picture = (text) => text && {width: given.width, height: given.height, data: decoded(text)};

const prepared = sketch.prepare({
    color: picture(given.color), photo: picture(given.photo), background: picture(given.background), own: given.own,
    map: {...given.map, data: decoded(given.map.data)},
});
process.stdout.write(JSON.stringify(given.specs.map((spec) =>
    Buffer.from(sketch.paint(prepared, spec).data).toString("base64"))));
