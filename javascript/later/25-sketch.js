// The sketch: a photo under the lights of a spec, at once. The formula of docs/preview.md, as
// lib_iclight/preview/shading.py computes it, for pictures as they are in a page.
//
// What every light needs is made once (`prepare`), then a light is a pass over the pixels: `paint` here, or the graphics
// card (45-preview.js) with the same numbers. Nothing here needs a page, so that the tests run it in node.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {decode, encode, clamp, linearColor, emission} = iclight.lights;

    // Those of shading.py, by its names.
    const AMBIENT_GAIN = 3, LIGHT_GAIN = 2, ELEVATION = Math.PI / 12, WRAP = 0.25, FILL = 0.06, SLOPE = 0.4;
    const LAMP_NEAR = 0.08, LAMP_FAR = 0.28, SHEEN = 0.3, DULL = 0.06, KNEE = 0.6, MOST = 4;
    const DIRECTIONAL = 0, LAMP = 1, RING = 2; // kinds of lamps
    const STEPS = 4095; // of the tone curve's table, over the square root of linear light, 0..2

    let tones = null, linears = null;

    /** Codes 0..255, not rounded, by the square root of linear light; bright values are compressed. */
    function toneTable() {
        return tones ??= Float32Array.from({length: STEPS + 1}, (_, i) => {
            const linear = (2 * i / STEPS) ** 2, over = Math.max(linear - KNEE, 0) / (1 - KNEE);
            return 255 * encode(Math.min(linear, KNEE) + (1 - KNEE) * (1 - Math.exp(-over)));
        });
    }

    const linearTable = () => linears ??= Float32Array.from({length: 256}, (_, code) => decode(code / 255));

    /** Where a picture of `own` size lies that covers [w, h], its middle in the middle: [left, top, width, height]. */
    function covered([ownWidth, ownHeight], [w, h]) {
        const scale = Math.max(w / ownWidth, h / ownHeight);
        return [(w - ownWidth * scale) / 2, (h - ownHeight * scale) / 2, ownWidth * scale, ownHeight * scale];
    }

    /** For `count` pixels of a side: the two samples of `own` between which each lies, and the second one's share. */
    function between(count, own, start, length) {
        return Array.from({length: count}, (_, i) => {
            const at = clamp((i + 0.5 - start) / length * own - 0.5, 0, own - 1), first = Math.floor(at);
            return [first, Math.min(first + 1, own - 1), at - first];
        });
    }

    /**
     * Unit normals of a normal map (a picture, green up) that covers [w, h], and what is left of the photo's own light:
     * four numbers a pixel, x, y, z and the factor exp(-(own . (x, y))).
     */
    function surface(map, own, [w, h]) {
        const [left, top, pw, ph] = covered([map.width, map.height], [w, h]);
        const columns = between(w, map.width, left, pw), rows = between(h, map.height, top, ph);
        const unit = new Float32Array(map.width * map.height * 3);
        for (let from = 0, to = 0; to < unit.length; from += 4, to += 3) {
            const x = map.data[from] / 127.5 - 1, y = map.data[from + 1] / 127.5 - 1;
            const z = map.data[from + 2] / 127.5 - 1, length = Math.sqrt(x * x + y * y + z * z) || 1;
            unit[to] = x / length;
            unit[to + 1] = y / length;
            unit[to + 2] = Math.max(z / length, 0);
        }
        const made = new Float32Array(w * h * 4);
        for (let row = 0, to = 0; row < h; row++) {
            const down = rows[row][2], above = 3 * map.width * rows[row][0], below = 3 * map.width * rows[row][1];
            for (let column = 0; column < w; column++, to += 4) {
                const at = columns[column], near = 3 * at[0], far = 3 * at[1], across = at[2];
                for (let i = 0; i < 3; i++) {
                    const upper = unit[above + near + i] * (1 - across) + unit[above + far + i] * across;
                    const lower = unit[below + near + i] * (1 - across) + unit[below + far + i] * across;
                    made[to + i] = upper * (1 - down) + lower * down;
                }
                const x = made[to], y = made[to + 1], z = made[to + 2], length = Math.sqrt(x * x + y * y + z * z) + 1e-6;
                for (let i = 0; i < 3; i++) made[to + i] /= length;
                made[to + 3] = Math.exp(-(own[0] * made[to] + own[1] * made[to + 1]));
            }
        }
        return made;
    }

    /**
     * What every light on a picture needs. All pictures are of one size. color: the subject, straight alpha. photo: what
     * it was cut out of, straight alpha. background: in its place, or null. map, own: the shape, see `surface`.
     * -> {width, height, color, behind, opaque, normals}; behind is premultiplied by its alpha.
     */
    function prepare({color, photo, background, map, own}) {
        const {width, height} = color, behind = new Uint8ClampedArray(width * height * 4);
        const under = background || photo;
        for (let at = 0; at < behind.length; at += 4) {
            const alpha = color.data[at + 3] / 255, there = under.data[at + 3] / 255;
            for (let i = 0; i < 3; i++) {
                behind[at + i] = background ? (1 - alpha) * there * under.data[at + i]
                    : under.data[at + i] * there - alpha * color.data[at + i];
            }
            behind[at + 3] = Math.max(under.data[at + 3], color.data[at + 3]);
        }
        const opaque = behind.every((alpha, i) => i % 4 < 3 || alpha === 255);
        return {width, height, color: color.data, behind, opaque, normals: surface(map, own, [width, height])};
    }

    /**
     * A spec's light for a picture so wide and high: {ambient, lamps}, each lamp {kind, at, color}, colours linear and
     * with their gain. at: cos and sin of the angle, or the place and the reach in shorter sides.
     */
    function lampsOf(spec, [w, h]) {
        const wide = w / Math.min(w, h), high = h / Math.min(w, h);
        const lamps = spec.lights.map((light) => {
            const color = emission(light).map((v) => LIGHT_GAIN * v);
            if (light.kind === "directional") {
                const angle = light.angle * Math.PI / 180;
                return {kind: DIRECTIONAL, at: [Math.cos(angle), Math.sin(angle), 0], color};
            }
            return {kind: light.hole ? RING : LAMP, at: [light.x * wide, light.y * high, light.radius ?? 0.5], color};
        });
        return {ambient: linearColor(spec.ambient).map((v) => AMBIENT_GAIN * v), lamps, wide, high};
    }

    /** Adds to `to` (x, y, z, strength) what of a lamp reaches a place; u, v: the place, 0..1. */
    function ray({kind, at}, u, v, wide, high, to) {
        const x = at[0], y = at[1], reach = at[2];
        if (kind === DIRECTIONAL) {
            const flat = Math.cos(ELEVATION);
            to[0] = flat * x;
            to[1] = flat * y;
            to[2] = Math.sin(ELEVATION);
            to[3] = 1 + 2 * SLOPE * (x * (u - 0.5) - y * (v - 0.5)) / (Math.abs(x) + Math.abs(y));
            return;
        }
        if (kind === RING) {
            to[0] = to[1] = 0;
            to[2] = to[3] = 1;
            return;
        }
        const right = x - u * wide, above = v * high - y, square = right * right + above * above;
        const q = Math.min(square / (reach * reach), 1), before = LAMP_NEAR + LAMP_FAR * reach * reach;
        const length = 1 / Math.sqrt(square + before * before);
        to[0] = right * length;
        to[1] = above * length;
        to[2] = before * length;
        to[3] = (1 - q * q) ** 2 / (1 + 4 * q);
    }

    /** A prepared picture under a light; null leaves the photo its own. A picture with premultiplied alpha. */
    function paint(prepared, spec) {
        const {width, height, color, behind, normals} = prepared, made = new Uint8ClampedArray(behind);
        const light = spec && lampsOf(spec, [width, height]), tone = toneTable(), linear = linearTable();
        const toward = [0, 0, 0, 0], total = [0, 0, 0], shine = [0, 0, 0];
        for (let row = 0, at = 0; row < height; row++) {
            const v = (row + 0.5) / height;
            for (let column = 0; column < width; column++, at += 4) {
                const alpha = color[at + 3] / 255;
                if (!alpha) continue;
                if (!light) {
                    for (let i = 0; i < 3; i++) made[at + i] = behind[at + i] + alpha * color[at + i];
                    continue;
                }
                const x = normals[at], y = normals[at + 1], z = normals[at + 2], u = (column + 0.5) / width;
                for (let i = 0; i < 3; i++) {
                    total[i] = light.ambient[i];
                    shine[i] = 0;
                }
                for (const lamp of light.lamps) {
                    ray(lamp, u, v, light.wide, light.high, toward);
                    const cosine = x * toward[0] + y * toward[1] + z * toward[2], strength = toward[3];
                    const soft = strength * (FILL + (1 - FILL) * clamp((cosine + WRAP) / (1 + WRAP), 0, 1));
                    let glance = clamp((cosine + z) / Math.sqrt(2 + 2 * toward[2]), 0, 1);
                    for (let i = 0; i < 4; i++) glance *= glance; // to the 16th
                    glance *= strength;
                    for (let i = 0; i < 3; i++) {
                        total[i] += lamp.color[i] * soft;
                        shine[i] += lamp.color[i] * glance;
                    }
                }
                const mean = (linear[color[at]] + linear[color[at + 1]] + linear[color[at + 2]]) / 3;
                const dull = SHEEN * (mean + DULL), left = normals[at + 3];
                for (let i = 0; i < 3; i++) {
                    const sum = linear[color[at + i]] * total[i] * left + dull * shine[i];
                    const root = Math.sqrt(Math.min(sum, MOST));
                    made[at + i] = behind[at + i] + alpha * tone[Math.min(STEPS, (root * STEPS / 2 + 0.5) | 0)];
                }
            }
        }
        return {width, height, data: made};
    }

    const constants = {ELEVATION, WRAP, FILL, SLOPE, LAMP_NEAR, LAMP_FAR, SHEEN, DULL, KNEE, MOST};
    iclight.sketch = {covered, prepare, lampsOf, paint, constants};
})();
