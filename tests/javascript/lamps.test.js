// Lamps on a picture: where the handles lie, what takes them, and what dragging them and the keys make of a light.

"use strict";

const assert = require("node:assert/strict");
const {test} = require("node:test");
const {lamps} = require("./load.js");

const SQUARE = [512, 512], WIDE = [1024, 512], TALL = [512, 1024];
const BOX = {width: 400, height: 400};
const side = (angle) => ({kind: "directional", angle, color: "#ffffff", intensity: 1});
const lamp = (x, y, radius = 0.3) => ({kind: "point", x, y, radius, color: "3200K", intensity: 1});

const near = (seen, expected) => seen.forEach((value, i) =>
    assert.ok(Math.abs(value - expected[i]) < 1e-9, `${seen} is not ${expected}`));

test("a side light's handle lies on a ring, where its light comes from", () => {
    for (const [angle, place] of [[0, [0.92, 0.5]], [90, [0.5, 0.08]], [180, [0.08, 0.5]], [270, [0.5, 0.92]]]) {
        const {move, size} = lamps.handles(side(angle), TALL);
        near(move, place);
        assert.equal(size, undefined);
    }
});

test("a lamp's handles: its place, and its reach in units of the shorter side", () => {
    near(lamps.handles(lamp(0.4, 0.5), SQUARE).size, [0.7, 0.5]);
    near(lamps.handles(lamp(0.4, 0.5), WIDE).size, [0.55, 0.5]);
    near(lamps.handles(lamp(0.4, 0.5), TALL).size, [0.7, 0.5]);
    near(lamps.handles({kind: "point", x: 0.2, y: 0.5}, SQUARE).size, [0.7, 0.5]); // radius by default
    near(lamps.handles(lamp(0.8, 0.5), SQUARE).size, [0.5, 0.5]); // no room on the right
});

test("a lamp beside the picture keeps its handles inside", () => {
    for (const [x, y] of [[-1, 2], [0, 0], [1, 1], [2, -1]]) {
        for (const [u, v] of Object.values(lamps.handles(lamp(x, y, 3), WIDE))) {
            assert.ok(u >= 0.02 && u <= 0.98 && v >= 0.03 && v <= 0.97, `${x} ${y}: ${u} ${v}`);
        }
    }
});

test("a press takes the nearest handle within reach", () => {
    const lights = [lamp(0.3, 0.3), lamp(0.34, 0.3), side(0)];
    assert.deepEqual(lamps.nearest(lights, 2, [0.31, 0.3], SQUARE, BOX), {index: 0, what: "move"});
    assert.deepEqual(lamps.nearest(lights, 2, [0.335, 0.3], SQUARE, BOX), {index: 1, what: "move"});
    assert.deepEqual(lamps.nearest(lights, 0, [0.9, 0.5], SQUARE, BOX), {index: 2, what: "move"});
    assert.equal(lamps.nearest(lights, 0, [0.5, 0.9], SQUARE, BOX), null);
    assert.equal(lamps.nearest([], 0, [0.5, 0.5], SQUARE, BOX), null);
});

test("only the chosen lamp's size can be taken", () => {
    const lights = [lamp(0.3, 0.3), lamp(0.3, 0.8)];
    assert.deepEqual(lamps.nearest(lights, 0, [0.6, 0.3], SQUARE, BOX), {index: 0, what: "size"});
    assert.equal(lamps.nearest(lights, 1, [0.6, 0.3], SQUARE, BOX), null);
});

test("dragging", () => {
    for (const angle of [0, 37.5, 90, 180, 271]) {
        const {move} = lamps.handles(side(angle), SQUARE);
        assert.deepEqual(lamps.dragged(side(10), "move", move, SQUARE), {angle});
    }
    assert.deepEqual(lamps.dragged(lamp(0.2, 0.2), "move", [0.61, 0.3333333], WIDE), {x: 0.61, y: 0.333});
    assert.deepEqual(lamps.dragged(lamp(0.2, 0.2), "move", [-0.4, 1.7], WIDE), {x: 0, y: 1}); // ends at the edge
    assert.deepEqual(lamps.dragged(lamp(0.2, 0.2), "size", [0.5, 0.2], WIDE), {radius: 0.6});
    assert.deepEqual(lamps.dragged(lamp(0.2, 0.2), "size", [0.2, 0.2], SQUARE), {radius: 0.05});
});

test("what a size handle is dragged to is where it then lies", () => {
    for (const frame of [SQUARE, WIDE, TALL]) {
        const light = lamp(0.25, 0.5);
        Object.assign(light, lamps.dragged(light, "size", [0.65, 0.5], frame));
        near(lamps.handles(light, frame).size, [0.65, 0.5]);
    }
});

test("moving by hundredths", () => {
    assert.deepEqual(lamps.moved(lamp(0.3, 0.3), [1, 0]), {x: 0.31, y: 0.3});
    assert.deepEqual(lamps.moved(lamp(0.3, 0.3), [0, 10]), {x: 0.3, y: 0.4});
    assert.deepEqual(lamps.moved(lamp(1.95, -0.95), [10, -10]), {x: 2, y: -1});
    assert.deepEqual(lamps.moved(side(0), [1, 0]), {angle: 359});
    assert.deepEqual(lamps.moved(side(350), [0, -10]), {angle: 0});
});

test("a copy lies beside the light and is another one", () => {
    const light = lamp(0.3, 0.3);
    assert.deepEqual(lamps.copied(light), {...light, x: 0.4});
    assert.equal(light.x, 0.3);
    assert.equal(lamps.copied(lamp(2, 0)).x, 2);
    assert.equal(lamps.copied(side(350)).angle, 20);
});

test("keys", () => {
    const of = (key, held = {}) => lamps.command({key, ctrlKey: false, metaKey: false, shiftKey: false, ...held});
    const [ctrl, meta, shift] = [{ctrlKey: true}, {metaKey: true}, {shiftKey: true}];
    assert.deepEqual(of("z", ctrl), {travel: -1});
    assert.deepEqual(of("Z", {...ctrl, ...shift}), {travel: 1});
    assert.deepEqual(of("z", meta), {travel: -1});
    assert.deepEqual(of("y", ctrl), {travel: 1});
    assert.deepEqual(of("ArrowLeft"), {move: [-1, 0]});
    assert.deepEqual(of("ArrowDown", shift), {move: [0, 10]});
    assert.deepEqual(of("PageUp"), {choose: -1});
    assert.deepEqual(of("PageDown"), {choose: 1});
    for (const key of ["Delete", "Backspace"]) assert.deepEqual(of(key), {remove: true});
    for (const [key, held] of [["z"], ["Tab"], ["Enter"], ["ArrowLeft", ctrl], ["Delete", meta], ["c", ctrl]]) {
        assert.equal(of(key, held), null, key);
    }
});

test("a temperature slider has equal steps for equal ratios, from end to end", () => {
    assert.equal(lamps.kelvinOf(0), 1670);
    assert.equal(lamps.kelvinOf(1), 25000);
    for (const kelvin of [2000, 3200, 5600, 12000]) assert.equal(lamps.kelvinOf(lamps.shareOf(kelvin)), kelvin);
    assert.ok(lamps.isTemperature("3200K") && lamps.isTemperature("3200k"));
    assert.ok(!lamps.isTemperature("#ffffff") && !lamps.isTemperature(undefined));
});

test("a history goes back and forth, and forgets what lay ahead", () => {
    const history = new lamps.History("a");
    assert.ok(history.isFirst && history.isLast);
    for (const entry of ["b", "b", "c"]) history.add(entry);
    assert.equal(history.travel(-1), "b");
    assert.equal(history.travel(-1), "a");
    assert.equal(history.travel(-1), undefined);
    assert.ok(history.isFirst && !history.isLast);
    assert.equal(history.travel(1), "b");
    history.add("d");
    assert.equal(history.travel(1), undefined);
    assert.equal(history.travel(-1), "b");
});

test("a history keeps the last 200", () => {
    const history = new lamps.History(0);
    for (let i = 1; i <= 250; i++) history.add(i);
    const seen = [];
    for (let entry = history.travel(-1); entry !== undefined; entry = history.travel(-1)) seen.push(entry);
    assert.deepEqual([seen.length, seen.at(-1)], [199, 51]);
});
