// What the desk computes, for test_desk_script.py to compare: JSON in, JSON out, bytes in base64.
//
// {"presets": {...}, "weights": [[lamps, light, aspect], ...], "hdrs": [bytes, ...],
//  "environments": [[lamps, bytes of an .hdr, rotation, saturation], ...],
//  "mixtures": [[width, height, [pixels, ...], alpha or null, weights, background pixels, "none" or null], ...],
//  "mixes": [[lamps, aspect, state, factor], ...]}
// -> the same keys with weights; {width, height, floats}; weights; {factor, pixels}; a saved mix.

"use strict";

const fs = require("node:fs");
const iclight = require("./load.js");

const {lights, mix, environment, pixels, lighting} = iclight;
const given = JSON.parse(fs.readFileSync(0, "utf8"));
const bytes = (text) => Uint8Array.from(Buffer.from(text, "base64"));
const coded = (data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
const lampsOf = (lamps) => lamps.map((lamp) => mix.lampOf(lamp, given.presets));

process.stdout.write(JSON.stringify({
    weights: (given.weights || []).map(([lamps, light, aspect]) =>
        mix.weightsOf(lights.parse(light, given.presets), lampsOf(lamps), aspect)),
    hdrs: (given.hdrs || []).map((text) => {
        const {width, height, data} = environment.readHdr(bytes(text));
        return {width, height, floats: coded(data)};
    }),
    environments: (given.environments || []).map(([lamps, text, rotation, saturation]) =>
        environment.environmentWeights(environment.gridOf(environment.readHdr(bytes(text))), lampsOf(lamps),
            {rotation, saturation})),
    mixtures: (given.mixtures || []).map(([width, height, pictures, alpha, weights, background]) => {
        const images = pictures.map((text) => ({width, height, data: bytes(text)})), mask = alpha && bytes(alpha);
        const at = pixels.places(width, height, mask);
        const factor = pixels.metering(images.map((image) => pixels.sampleOf(image, at)))(weights);
        const sum = new pixels.Sum(width, height);
        images.forEach(({data}, number) => sum.add(data, weights[number].map((value) => factor * value)));
        const picture = sum.picture();
        if (background) pixels.over(picture, mask, background === "none" ? null : {width, height, data: bytes(background)});
        return {factor, pixels: coded(picture.data)};
    }),
    mixes: (given.mixes || []).map(([lamps, aspect, state, factor]) => {
        const set = {lamps: lampsOf(lamps), aspect, environments: {}, meter: () => factor};
        return lighting.toSettings(state, lighting.weightsFor(state, set), set);
    }),
}));
