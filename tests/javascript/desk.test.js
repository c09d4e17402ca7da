// The desk's pure parts: what is a light of a set, where its knobs lie, what a state becomes, which .hdr files are faulty.

"use strict";

const assert = require("node:assert/strict");
const {test} = require("node:test");
const {mix, lighting, environment, pixels} = require("./load.js");

const side = (angle) => ({ambient: "#000000", lights: [{kind: "directional", angle, color: "#ffffff", intensity: 1}]});
const PRESETS = {none: {ambient: "#000000", lights: []}, left: side(180), right: side(0), top: side(90),
    ambient: {ambient: "#7f7f7f", lights: []}};
const lamps = (...names) => names.map((name) => mix.lampOf({name}, PRESETS));
const near = (seen, expected, by = 1e-9) => {
    assert.equal(seen.length, expected.length);
    seen.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) <= by, `${seen} is not ${expected}`));
};
const FOUR = ["left", "right", "top", "ambient"];

test("a light of a set is a preset's name, a spec or a direction", () => {
    near(mix.lampOf({name: "left"}, PRESETS).direction, [-1, 0, 0]);
    near(mix.lampOf({name: "lamp", light: side(90)}, PRESETS).direction, [0, 1, 0]);
    const real = mix.lampOf({name: "2", light: {direction: [0, 3, 4]}}, PRESETS);
    near(real.direction, [0, 0.6, 0.8]);
    assert.ok(real.real && !real.ambient);
    const ambient = mix.lampOf({name: "room", light: "ambient"}, PRESETS);
    assert.ok(ambient.ambient && !ambient.real);
    const both = {ambient: "#000", lights: [...side(0).lights, ...side(180).lights]};
    assert.equal(mix.lampOf({name: "both", light: both}, PRESETS).direction, null);
});

test("what is none is named", () => {
    for (const light of [undefined, "lfet", "none", {}, null, {direction: [0, 0, 0]}, {direction: [1, 2]},
        {direction: [1, 2, NaN]}, {direction: ["1", 2, 3]}]) {
        assert.throws(() => mix.lampOf({name: "lamp 7", light}, PRESETS), /^Error: lamp 7/, JSON.stringify(light));
    }
});

test("the same light is found however it is written", () => {
    const set = lamps("right", "left");
    for (const angle of [180, 540, -180]) {
        for (const color of ["#ffffff", "#FFF", undefined]) {
            const spec = {lights: [{kind: "directional", angle, color}]};
            assert.deepEqual(mix.weightsOf(spec, set, 1), [[0, 0, 0], [1, 1, 1]]);
        }
    }
});

test("weights by name, and their faults", () => {
    const set = lamps(...FOUR);
    const weights = mix.fromNames({top: [1, 0.5, 0], ambient: 0.25}, set);
    assert.deepEqual(weights, [[0, 0, 0], [0, 0, 0], [1, 0.5, 0], [0.25, 0.25, 0.25]]);
    assert.deepEqual(mix.toNames(weights, set), {top: [1, 0.5, 0], ambient: [0.25, 0.25, 0.25]});
    assert.throws(() => mix.fromNames({topp: 1}, set), /topp/);
    for (const value of [-1, [1, 2], [1, 2, 3, 4], "a", null, NaN, 1e7, [1, 2, {}]]) {
        assert.throws(() => mix.fromNames({top: value}, set), /top/, JSON.stringify(value));
    }
});

test("knobs lie on the border, where their light comes from", () => {
    const angles = {0: [1, 0.5], 45: [1, 0], 90: [0.5, 0], 135: [0, 0], 180: [0, 0.5], 225: [0, 1], 270: [0.5, 1],
        315: [1, 1]};
    for (const aspect of [1, 0.6, 2]) {
        const set = Object.keys(angles).map((angle) => mix.lampOf({name: angle, light: side(Number(angle))}, PRESETS));
        lighting.ring(set, aspect).forEach((place, i) => near(place, Object.values(angles)[i], 1e-6));
    }
    assert.deepEqual(lighting.ring(lamps("ambient"), 1), [null]);
});

test("knobs never lie on each other, and keep their order", () => {
    for (const count of [2, 5, 12, 40, 60]) {
        for (const bundle of [0.001, 0.8, 6.2]) { // all at one place, to all around
            const set = Array.from({length: count}, (_, i) => {
                const angle = 2 + bundle * ((i * 7) % count) / count;
                return mix.lampOf({name: `${i}`, light: {direction: [Math.cos(angle), Math.sin(angle), 0.5]}}, PRESETS);
            });
            const places = lighting.ring(set, 1), gap = 4 * Math.min(0.05, 0.95 / count);
            places.forEach((one, i) => places.slice(0, i).forEach((other) => {
                const apart = Math.abs(one[0] - other[0]) + Math.abs(one[1] - other[1]); // along the border, at most
                assert.ok(apart > gap - 1e-6, `${count} ${bundle}: ${one} ${other}`);
            }));
        }
    }
});

test("weights by hand are the weights", () => {
    const set = {lamps: lamps(...FOUR), aspect: 1, environments: {}, meter: () => 0.5};
    const weights = [[0.5, 0.25, 0.1], [0, 0, 0], [3, 3, 3], [1e-3, 2e-3, 0]];
    const state = lighting.handMixed(lighting.START, weights);
    lighting.weightsFor(state, set).forEach((row, i) => near(row, weights[i], 0.01 * Math.max(...weights[i])));
    assert.equal(state.lights[1].intensity, 0);
});

test("a saved mix comes back", () => {
    const set = {lamps: lamps(...FOUR), aspect: 1, environments: {}, meter: () => 0.5};
    const spec = {ambient: "#102030", lights: [{kind: "point", x: 0.2, y: 0.3, radius: 1, color: "3200K", intensity: 2}]};
    for (const state of [
        {...lighting.START, spec, ev: 1.5}, {...lighting.START, auto: false, ev: -2, light: "left", spec: side(180)},
        lighting.handMixed({...lighting.START, ev: 0}, [[1, 0, 0], [0, 0, 0], [0, 2, 0], [1, 1, 1]]),
    ]) {
        const weights = lighting.weightsFor(state, set), factor = lighting.factorFor(state, weights, set);
        const back = lighting.fromSettings(lighting.toSettings(state, weights, set), lighting.START, set, PRESETS);
        const again = lighting.weightsFor(back, set);
        again.forEach((row, i) => near(row, weights[i], 1e-4));
        near([lighting.factorFor(back, again, set)], [factor], 1e-4);
    }
    for (const faulty of [{}, {light: "lfet"}, {weights: {lfet: 1}}, {light: "left", exposure: "bright"},
        {light: "left", exposure: 100}, {light: {lights: [{kind: "point", x: 0, y: 0, color: 7}]}}]) {
        assert.throws(() => lighting.fromSettings(faulty, lighting.START, set, PRESETS), undefined,
            JSON.stringify(faulty));
    }
});

test("an orbit goes once around, clockwise, with the chosen light's colour", () => {
    const spec = {ambient: "#303030", lights: [{kind: "point", x: 0.2, y: 0.3, color: "3200K", intensity: 2}]};
    const angles = [0, 0.25, 0.5, 0.75].map((share) => {
        const moment = lighting.orbiting({...lighting.START, spec, ev: 1}, 0, share);
        assert.equal(moment.ev, 1);
        assert.equal(moment.spec.ambient, "#303030");
        assert.equal(moment.spec.lights[0].color, "3200K");
        return moment.spec.lights[0].angle;
    });
    assert.deepEqual(angles, [90, 0, 270, 180]);
    const turned = lighting.orbiting({kind: "environment", id: 0, rotation: 100, saturation: 1}, 0, 0.5);
    assert.equal(turned.rotation, -80);
    assert.equal(lighting.orbiting(lighting.START, 0, 0).spec.ambient, "#202020");
});

const hdr = (text, ...bytes) => Uint8Array.from([...Buffer.from(text, "latin1"), ...bytes]);
const HEADER = "#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n";

test("faulty .hdr files are refused", () => {
    assert.deepEqual([...environment.readHdr(hdr(`${HEADER}-Y 1 +X 1\n`, 128, 0, 64, 129)).data],
        [128.5, 0.5, 64.5].map((v) => Math.fround(v / 128)));
    for (const [file, words] of [
        [hdr("P6\n"), /no Radiance/], [hdr("#?RADIANCE"), /cut short/], [hdr(`${HEADER}-Y 1 +X 2\n`, 1, 2, 3, 4), /cut short/],
        [hdr("#?RADIANCE\nFORMAT=32-bit_rle_xyze\n\n-Y 1 +X 1\n", 1, 2, 3, 4), /RGBE/],
        [hdr("#?RADIANCE\nEXPOSURE=0\n\n-Y 1 +X 1\n", 1, 2, 3, 4), /header/],
        [hdr("#?RADIANCE\nEXPOSURE=x\n\n-Y 1 +X 1\n", 1, 2, 3, 4), /header/],
        [hdr(`${HEADER}-Y 1 +Y 1\n`, 1, 2, 3, 4), /header/], [hdr(`${HEADER}-Y 0 +X 1\n`), /header/],
        [hdr(`${HEADER}-Y 999999 +X 999999\n`), /header/], [hdr(`${HEADER}-Y 1 +X 8\n`, 2, 2, 0, 9), /damaged/],
        [hdr(`${HEADER}-Y 1 +X 8\n`, 2, 2, 0, 8, 137, 5), /damaged/], [hdr(`${HEADER}-Y 1 +X 8\n`, 2, 2, 0, 8, 0), /damaged/],
        [hdr(`${HEADER}-Y 1 +X 2\n`, 1, 1, 1, 2), /damaged/], [hdr(`${HEADER}-Y 1 +X 8\n`, 2, 2, 0, 8, 3, 1), /cut short/],
    ]) assert.throws(() => environment.readHdr(file), words);
});

test("a panorama is twice as wide as high, and not black", () => {
    const flat = (width, height, value) => ({width, height, data: new Float32Array(3 * width * height).fill(value)});
    assert.ok(environment.gridOf(flat(64, 32, 2)).every((value) => value === 2));
    assert.ok(environment.gridOf(flat(101, 50, 1)).length === 64 * 32 * 3);
    assert.throws(() => environment.gridOf(flat(100, 60, 1)), /twice as wide/);
    assert.throws(() => environment.gridOf(flat(64, 32, 0)), /black/);
    assert.throws(() => environment.gridOf(flat(64, 32, Infinity)), /no numbers/);
});

test("a white furnace makes all weights 1", () => {
    const grid = new Float64Array(64 * 32 * 3).fill(1);
    for (const names of [["left", "right", "top"], FOUR]) {
        const total = environment.environmentWeights(grid, lamps(...names)).flat().reduce((a, b) => a + b, 0);
        assert.ok(Math.abs(total - 3 * names.length) < 1e-9);
    }
    assert.equal(environment.environmentWeights(grid, []), null);
});

test("exposure looks at the subject only", () => {
    const alpha = new Uint8ClampedArray(16 * 16).fill(0, 0, 128).fill(255, 128);
    assert.equal(pixels.places(16, 16, null).length, 256);
    assert.ok(pixels.places(16, 16, alpha).every((at) => at >= 128));
    assert.equal(pixels.places(16, 16, new Uint8ClampedArray(256)).length, 256);
    assert.deepEqual([...pixels.places(300, 300, null)].slice(0, 2), [1 * 300 + 1, 1 * 300 + 3]);
    const black = new Float32Array(30);
    assert.equal(pixels.metering([black, black])([[1, 1, 1], [1, 1, 1]]), 1);
});
