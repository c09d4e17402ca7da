// Lamps on a picture: where their handles lie, and what dragging one or pressing a key makes of it.
//
// Places are in 0..1 of the picture, from its upper left corner; `frame` is its [width, height]. Lights are a spec's.
// None is changed here: what changes of one is returned. Nothing here needs a page, so that the tests run it in node.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {MIN_KELVIN, MAX_KELVIN, clamp} = iclight.lights;

    const RING = 0.42; // how far from the middle a side light's handle lies
    const GRAB = 22; // how near, in screen pixels, a press takes a handle
    const KEPT = 200; // steps of a history
    const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    const NEW = {
        directional: {kind: "directional", angle: 135, color: "#ffffff", intensity: 1},
        point: {kind: "point", x: 0.3, y: 0.3, radius: 0.6, color: "#ffffff", intensity: 1},
    };

    const round = (value, digits) => Number(value.toFixed(digits));
    const modulo = (value, by) => ((value % by) + by) % by;

    /** A temperature's place, 0..1, on a slider with equal steps for equal ratios; and back, in tens of kelvin. */
    const shareOf = (kelvin) => Math.log(kelvin / MIN_KELVIN) / Math.log(MAX_KELVIN / MIN_KELVIN);
    const kelvinOf = (share) => Math.round(MIN_KELVIN * Math.pow(MAX_KELVIN / MIN_KELVIN, share) / 10) * 10;

    const isTemperature = (color) => /K$/i.test(color || "");

    /** Where a light's handles lie: `move`, its own, and for a lamp `size`, on the edge of its reach. */
    function handles(light, frame) {
        if (light.kind === "directional") {
            const angle = light.angle * Math.PI / 180;
            return {move: [0.5 + RING * Math.cos(angle), 0.5 - RING * Math.sin(angle)]};
        }
        const reach = (light.radius ?? 0.5) * Math.min(...frame) / frame[0];
        const at = [clamp(light.x, 0.03, 0.97), clamp(light.y, 0.03, 0.97)]; // whole, also of a lamp at the edge
        const edge = at[0] + reach <= 1 ? at[0] + reach : at[0] - reach;
        return {move: at, size: [clamp(edge, 0.02, 0.98), at[1]]};
    }

    /**
     * The handle that a press takes, as {index, what}, or null where none is near enough. Only the chosen light's size
     * can be taken. box: the picture on the screen, {width, height} in pixels.
     */
    function nearest(lights, chosen, at, frame, box) {
        let least = GRAB, found = null;
        lights.forEach((light, index) => {
            for (const [what, [x, y]] of Object.entries(handles(light, frame))) {
                const distance = Math.hypot((x - at[0]) * box.width, (y - at[1]) * box.height);
                if (distance < least && (what === "move" || index === chosen)) {
                    least = distance;
                    found = {index, what};
                }
            }
        });
        return found;
    }

    /** What changes of a light whose handle `what` is dragged to a place. */
    function dragged(light, what, [x, y], frame) {
        if (what === "size") {
            const across = Math.abs(x - clamp(light.x, 0, 1)) * frame[0] / Math.min(...frame);
            return {radius: round(clamp(across, 0.05, 3), 2)};
        }
        if (light.kind === "point") return {x: round(clamp(x, 0, 1), 3), y: round(clamp(y, 0, 1), 3)};
        return {angle: round(modulo(Math.atan2(0.5 - y, x - 0.5) * 180 / Math.PI, 360), 1)};
    }

    /** What changes of a light that is moved by so many hundredths of the picture to the right and down. */
    function moved(light, [dx, dy]) {
        if (light.kind === "point") {
            return {x: round(clamp(light.x + 0.01 * dx, -1, 2), 3), y: round(clamp(light.y + 0.01 * dy, -1, 2), 3)};
        }
        return {angle: round(modulo(light.angle - (dx + dy), 360), 1)};
    }

    /** A light like this one, a little beside it. */
    function copied(light) {
        if (light.kind === "point") return {...light, x: round(clamp(light.x + 0.1, -1, 2), 3)};
        return {...light, angle: round(modulo(light.angle + 30, 360), 1)};
    }

    /**
     * What a key asks for: {travel: steps} in the history, {remove: true}, {choose: steps} among the lights, or
     * {move: [dx, dy]} for `moved`; null for a key that is not ours. event: a keydown event, or what of one is read.
     */
    function command({key, ctrlKey, metaKey, shiftKey}) {
        if (ctrlKey || metaKey) {
            return {z: {travel: shiftKey ? 1 : -1}, y: {travel: 1}}[key.toLowerCase()] || null;
        }
        if (key === "Delete" || key === "Backspace") return {remove: true};
        if (key === "PageUp" || key === "PageDown") return {choose: key === "PageUp" ? -1 : 1};
        const step = shiftKey ? 10 : 1;
        return key in ARROWS ? {move: ARROWS[key].map((d) => d * step)} : null;
    }

    /** What was, to go back and forth in. */
    class History {
        constructor(first) {
            this.entries = [first];
            this.at = 0;
        }

        get isFirst() { return this.at === 0; }
        get isLast() { return this.at === this.entries.length - 1; }

        /** Go on from here with an entry; what lay ahead is forgotten. The entry that we are at is no new one. */
        add(entry) {
            if (entry === this.entries[this.at]) return;
            this.entries = [...this.entries.slice(0, this.at + 1), entry].slice(-KEPT);
            this.at = this.entries.length - 1;
        }

        /** The entry so many steps ahead, or back; undefined, and no step, where there is none. */
        travel(by) {
            if (!(this.at + by in this.entries)) return undefined;
            this.at += by;
            return this.entries[this.at];
        }
    }

    iclight.lamps = {
        NEW, round, modulo, shareOf, kelvinOf, isTemperature, handles, nearest, dragged, moved, copied, command,
        History,
    };
})();
