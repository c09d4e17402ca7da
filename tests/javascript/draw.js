// Pictures for test_javascript.py to compare: JSON in, JSON out, pixels in base64.
//
// {"presets": {...}, "maps": [[light, width, height, form], ...], "pictures": [[pixels, width, height, blur], ...]}
// -> {"maps": [pixels, ...], "pictures": [pixels, ...]}

"use strict";

const fs = require("node:fs");
const {lights} = require("./load.js");

const given = JSON.parse(fs.readFileSync(0, "utf8"));
const coded = ({data}) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
const decoded = (text) => Uint8ClampedArray.from(Buffer.from(text, "base64"));

process.stdout.write(JSON.stringify({
    maps: given.maps.map(([light, width, height, form]) => coded(lights.map(light, given.presets, width, height, form))),
    pictures: given.pictures.map(([pixels, width, height, blur]) =>
        coded(lights.broadLight({width, height, data: decoded(pixels)}, blur))),
}));
