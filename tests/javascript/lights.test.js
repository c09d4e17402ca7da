// Light specs in JavaScript: what is a light and what is none. Their pictures are compared with Python's in
// test_javascript.py.

"use strict";

const assert = require("node:assert/strict");
const {test} = require("node:test");
const {lights} = require("./load.js");

const LEFT = {ambient: "#000000", lights: [{kind: "directional", angle: 180, color: "#ffffff", intensity: 1}]};
const PRESETS = {none: {ambient: "#000000", lights: []}, left: LEFT, ambient: {ambient: "#7f7f7f", lights: []}};

const near = (seen, expected, by) => {
    assert.equal(seen.length, expected.length);
    seen.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) <= by, `${seen} is not near ${expected}`));
};

test("a name and a spec's JSON text are lights", () => {
    assert.deepEqual(lights.parse("left", PRESETS), LEFT);
    assert.deepEqual(lights.parse(JSON.stringify(LEFT), PRESETS), LEFT);
    assert.deepEqual(lights.parse(' {"ambient": "#102030"} ', PRESETS), {ambient: "#102030", lights: []});
});

test("what is neither is refused", () => {
    for (const light of ["lfet", '{"ambient": ', "[1]", "12"]) {
        assert.throws(() => lights.parse(light, PRESETS), undefined, light);
    }
});

test("no light is none, however it is said", () => {
    for (const light of ["", "none", null, "{}", '{"lights": []}', '{"ambient": "#000"}']) {
        assert.ok(lights.isNone(lights.parse(light, PRESETS)), light);
        assert.equal(lights.map(light, PRESETS, 4, 4), null);
        assert.equal(lights.format(lights.parse(light, PRESETS)), "none");
    }
});

test("a spec is written as it was read, and the preset stays as it was", () => {
    const spec = lights.parse("left", PRESETS);
    assert.equal(lights.format(spec), JSON.stringify(LEFT));
    spec.lights[0].angle = 5;
    spec.lights.push({kind: "point", x: 0, y: 0});
    assert.equal(PRESETS.left.lights[0].angle, 180);
    assert.equal(PRESETS.left.lights.length, 1);
});

test("colours in linear light", () => {
    near(lights.linearColor("#ffffff"), [1, 1, 1], 0);
    near(lights.linearColor("#f00"), [1, 0, 0], 0);
    near(lights.linearColor("#808080"), [0.21586, 0.21586, 0.21586], 1e-5);
    assert.ok(lights.linearColor("6500K").every((v) => v > 0.94)); // daylight is nearly white
    const [red, green, blue] = lights.linearColor("2000K");
    assert.ok(red === 1 && green < 0.4 && blue < 0.05);
});

test("a colour as CSS has it", () => {
    for (const color of ["#000000", "#ffffff", "#12ab9f"]) assert.equal(lights.cssColor(color), color);
    assert.equal(lights.cssColor("#f0a"), "#ff00aa");
    assert.match(lights.cssColor("3200K"), /^#ff[0-9a-f]{4}$/);
});

test("what a light gives off is its colour times its intensity; both have defaults", () => {
    near(lights.emission({color: "#ff0000", intensity: 2.5}), [2.5, 0, 0], 0);
    near(lights.emission({}), [1, 1, 1], 0);
    near(lights.emission({intensity: 0}), [0, 0, 0], 0);
});

test("sRGB's transfer functions are each other's inverse", () => {
    for (const value of [0, 0.002, 0.0031308, 0.04045, 0.2, 0.5, 1]) {
        near([lights.decode(lights.encode(value))], [value], 1e-6);
    }
});

test("the middle of a single pixel's light is the light's middle", () => {
    const {data} = lights.draw(LEFT, 1, 1);
    assert.deepEqual([...data], [128, 128, 128, 255]);
});

test("lights of many add up, and end at white", () => {
    const {data} = lights.draw({ambient: "#404040", lights: [LEFT.lights[0], LEFT.lights[0], LEFT.lights[0]]}, 3, 1);
    assert.equal(data[0], 255);
    assert.ok(data[4] > 200 && data[4] < 255, data[4]);
    assert.equal(data[8], 64); // the dark end has the ambient light alone
});
