// From a light to weights: how strong each light of a set has to shine to make another light. The formulas of
// lib_iclight/stage/weights.py and rig.py, in JavaScript; docs/stage.md has them in words.
//
// A set's lights are `lamps`, {name, direction, real, ambient, same}, made by `lampOf`. Directions are unit vectors from
// the subject towards the light: x right, y up, z to the camera. Weights are [red, green, blue] for each lamp, linear,
// 1 being the light as in its picture. Nothing here needs a page, so that the tests run it in node.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {decode, linearColor, emission} = iclight.lights;
    const {modulo} = iclight.lamps;

    const LAMP_HEIGHT = 0.25; // how far before the picture a lamp stands, in units of its shorter side
    const GRID = 16; // points to a side at which a lamp's light is averaged
    const RAMP = 0.3103; // mean of a directional light's map
    const AMBIENT = decode(127 / 255); // of the preset "ambient"
    const BEHIND = 4; // how narrow the region behind the subject is from where light reaches all sides alike
    const NEIGHBOURS = 3; // real lamps that share a direction between them
    const LUMINANCE = [0.2126, 0.7152, 0.0722]; // Rec. 709, of linear light
    const TURN = 2 * Math.PI;

    const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
    const unit = (v) => v.map((value) => value / Math.hypot(...v));
    const sum = (values) => values.reduce((a, b) => a + b, 0);
    /** Sorts a list by a number of each entry; equal ones stay in order. (`toSorted` is younger than some browsers.) */
    const inOrder = (items, of) => {
        items.sort((a, b) => of(a) - of(b));
        return items;
    };
    const none = (count) => Array.from({length: count}, () => [0, 0, 0]);

    /** Towards light from a side; degrees, 0 right, 90 top. */
    const sideDirection = (angle) => [Math.cos(angle * Math.PI / 180), Math.sin(angle * Math.PI / 180), 0];

    /** Towards a lamp at (x, y) of a light spec, from the middle of a picture of that width / height. */
    const lampDirection = (x, y, aspect = 1) =>
        unit([(x - 0.5) * Math.max(aspect, 1), (0.5 - y) * Math.max(1 / aspect, 1), LAMP_HEIGHT]);

    const towards = (light, aspect) =>
        light.kind === "point" ? lampDirection(light.x, light.y, aspect) : sideDirection(light.angle);

    /** Colours and numbers of a spec as text, the same for all ways to write the same light. */
    function canonical(spec) {
        const color = (text = "#ffffff") => !text.startsWith("#") ? `${parseFloat(text)}K`
            : (text.length === 4 ? "#" + [...text.slice(1)].map((d) => d + d).join("") : text).toLowerCase();
        return JSON.stringify([color(spec.ambient || "#000000"), ...(spec.lights || []).map((one) =>
            [one.kind, color(one.color), one.intensity ?? 1, ...one.kind === "point"
                ? [one.x, one.y, one.radius ?? 0.5, one.hole ?? 0] : [modulo(one.angle, 360)]])]);
    }

    /** Where the lights of a spec come from together; null where they come from all sides alike. */
    function directionOf(spec) {
        if (!spec.lights?.length) return [0, 0, 1];
        const total = [0, 0, 0];
        for (const light of spec.lights) {
            const strength = dot(LUMINANCE, emission(light));
            towards(light, 1).forEach((value, axis) => { total[axis] += strength * value; });
        }
        return Math.hypot(...total) < 1e-6 ? null : unit(total);
    }

    /**
     * A light of a set. light: as in stage.json, a preset's name, a spec, or {direction: [x, y, z]} of any length;
     * without one its name is taken for a preset's. Throws an Error for what is none.
     */
    function lampOf({name, light = name}, presets) {
        if (light?.direction) {
            const {direction} = light;
            if (direction.length !== 3 || !direction.every(Number.isFinite) || Math.hypot(...direction) < 1e-9) {
                throw new Error(`${name}: a direction is three numbers, not all 0.`);
            }
            return {name, direction: unit(direction), real: true, ambient: false, same: null};
        }
        const spec = typeof light === "string" ? presets[light] : light;
        if (!spec || typeof spec !== "object" || canonical(spec) === canonical({})) {
            throw new Error(`${name}: ${JSON.stringify(light)} is no light.`);
        }
        return {name, direction: directionOf(spec), real: false, ambient: !spec.lights?.length, same: canonical(spec)};
    }

    /** The numbers of the lamps that have a direction, of those that are ambient, and of the real ones. */
    const sorted = (lamps) => {
        const numbers = lamps.map((_, number) => number);
        const sides = numbers.filter((number) => lamps[number].direction && !lamps[number].ambient);
        return {sides, fill: numbers.filter((number) => lamps[number].ambient),
            real: sides.filter((number) => lamps[number].real)};
    };

    // Shares --------------------------------------------------------------------------------------------------------

    /** The `count` + 1 smallest of some numbers, in order. */
    function smallest(values, count) {
        const least = [];
        for (const value of values) {
            if (least.length > count && value >= least[count]) continue;
            let at = least.length;
            while (at && least[at - 1] > value) at--;
            least.splice(at, 0, value);
            if (least.length > count + 1) least.pop();
        }
        return least;
    }

    /** Shares of real lamps that stand at `stand`, by their angles to a direction. */
    function amongReal(toward, stand) {
        const angles = stand.map((one) => {
            const chord = Math.hypot(toward[0] - one[0], toward[1] - one[1], toward[2] - one[2]);
            return Math.max(2 * Math.asin(Math.min(chord / 2, 1)), 1e-6);
        });
        const least = smallest(angles, NEIGHBOURS);
        const reach = stand.length > NEIGHBOURS ? least[NEIGHBOURS] : Math.PI;
        let weights = angles.map((angle) => (Math.max(reach - angle, 0) / (reach * angle)) ** 2);
        if (!(sum(weights) > 0)) weights = angles.map((angle) => Number(angle <= least[0] + 1e-9)); // all of them alike
        const total = sum(weights);
        return weights.map((weight) => weight / total);
    }

    /** The azimuths of lights in the picture's plane, in order: [azimuth, place] of each. */
    const around = (stand) => inOrder(stand.map(([x, y], place) => [modulo(Math.atan2(y, x), TURN), place]),
        ([azimuth]) => azimuth);

    /** Shares of lights that stand in the picture's plane, by azimuth. order: of `around`. */
    function amongSides(toward, order) {
        const count = order.length, result = Array.from({length: count}, () => 0);
        if (Math.hypot(toward[0], toward[1]) < 1e-9) return result.fill(1 / count);
        const asked = modulo(Math.atan2(toward[1], toward[0]), TURN);
        const found = order.findIndex(([azimuth]) => azimuth > asked);
        const after = found < 0 ? 0 : found, before = modulo(after - 1, count);
        const first = modulo(asked - order[before][0], TURN), second = modulo(order[after][0] - asked, TURN);
        const wide = first + second >= Math.PI - 1e-6;
        const one = wide ? second : Math.sin(second), two = wide ? first : Math.sin(first), total = one + two;
        if (total < 1e-12) { // a single side, met exactly
            result[order[before][1]] = 1;
            return result;
        }
        result[order[before][1]] += one / total;
        result[order[after][1]] += two / total;
        return result;
    }

    /** A function: how the lamps share light from a unit vector, a number for each lamp, together 1. */
    function sharing(lamps) {
        const {sides, fill, real} = sorted(lamps);
        const empty = () => lamps.map(() => 0);
        if (real.length >= 3) {
            const stand = real.map((number) => lamps[number].direction);
            return (toward) => {
                const result = empty();
                amongReal(toward, stand).forEach((share, i) => { result[real[i]] = share; });
                return result;
            };
        }
        const order = around(sides.map((number) => lamps[number].direction));
        return (toward) => {
            const result = empty();
            if (!sides.length) {
                for (const number of fill) result[number] = 1 / fill.length;
                return result;
            }
            const front = fill.length ? Math.max(toward[2], 0) ** ((sides.length - 1) / 2) : 0;
            for (const number of fill) result[number] = front / fill.length;
            const behind = Math.max(-toward[2], 0) ** BEHIND;
            amongSides(toward, order).forEach((share, i) => {
                result[sides[i]] = (1 - front) * (share * (1 - behind) + behind / sides.length);
            });
            return result;
        };
    }

    // Weights -------------------------------------------------------------------------------------------------------

    /** Mean of a lamp's light map over the picture, at the middles of GRID x GRID cells. */
    function lampLight({x, y, radius = 0.5}, aspect) {
        let total = 0;
        for (let row = 0; row < GRID; row++) {
            for (let column = 0; column < GRID; column++) {
                const distance = Math.hypot(((column + 0.5) / GRID - x) * Math.max(aspect, 1),
                    ((row + 0.5) / GRID - y) * Math.max(1 / aspect, 1));
                const q = Math.min(distance, radius) / radius;
                total += (1 - q ** 4) ** 2 / (1 + (4 * q) ** 2);
            }
        }
        return total / GRID ** 2;
    }

    /** Adds `strength` (red, green, blue) times a share to each lamp's weight. */
    function add(weights, shares, strength) {
        shares.forEach((share, number) => {
            for (let channel = 0; channel < 3; channel++) weights[number][channel] += share * strength[channel];
        });
    }

    /** The weights that make the light of a spec; null where no lamp has a direction. aspect: width / height. */
    function weightsOf(spec, lamps, aspect) {
        const asked = canonical(spec), weights = none(lamps.length);
        const exact = lamps.findIndex((lamp) => lamp.same === asked);
        if (exact >= 0) {
            weights[exact] = [1, 1, 1];
            return weights;
        }
        const {sides, fill} = sorted(lamps), lights = spec.lights || [];
        if (!sides.length && (lights.length || !fill.length)) return null;
        const taking = fill.length ? fill : sides, each = fill.length ? AMBIENT : RAMP;
        add(weights, lamps.map((_, number) => taking.includes(number) ? 1 / (each * taking.length) : 0),
            linearColor(spec.ambient || "#000000"));
        const shares = sharing(lamps);
        for (const light of lights) {
            const gain = light.kind === "point" ? lampLight(light, aspect) / RAMP : 1;
            add(weights, shares(towards(light, aspect)), emission(light).map((value) => gain * value));
        }
        return weights;
    }

    /** Weights as the object that `mix --weights` reads: six digits, lights that are off left out. */
    const toNames = (weights, lamps) => Object.fromEntries(lamps.map(({name}, number) =>
        [name, weights[number].map((value) => Number(value.toPrecision(6)))]).filter(([, row]) => row.some(Boolean)));

    /** Weights from such an object; a single number is grey. Throws an Error that names what is wrong. */
    function fromNames(values, lamps) {
        const weights = none(lamps.length);
        for (const [name, value] of Object.entries(values)) {
            const number = lamps.findIndex((lamp) => lamp.name === name), parts = [value].flat();
            if (number < 0) throw new Error(`the set has no light called "${name}".`);
            if (![1, 3].includes(parts.length) || !parts.every((part) => typeof part === "number" && part >= 0
                && part <= 1e6)) {
                throw new Error(`${name}: one number or three, from 0 to 1000000.`);
            }
            weights[number] = parts.length === 3 ? parts : [parts[0], parts[0], parts[0]];
        }
        return weights;
    }

    iclight.mix = {
        LUMINANCE, dot, inOrder, lampOf, sorted, sharing, weightsOf, toNames, fromNames, lampDirection, sideDirection,
    };
})();
