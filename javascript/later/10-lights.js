// Light specs and their light maps: the formulas of lib_iclight/lights/, in JavaScript.
//
// A light is a preset's name or a spec's JSON text; `iclight.lights` never keeps one, it only reads and draws. Pictures
// are what ImageData is, {width, height, data}: sRGB, four bytes a pixel, row by row from the top. Nothing here needs a
// page, so that the tests run it in node.

(function() {
    "use strict";

    const iclight = globalThis.iclight ??= {};
    const RANGE = {fc: [0, 255], fbc: [32, 224]};
    const AMBIENT = {fc: 127, fbc: 64};
    const MIN_KELVIN = 1667, MAX_KELVIN = 25000;

    /** sRGB's transfer function and its inverse (IEC 61966-2-1); both take and give 0..1. */
    const decode = (v) => v <= 0.04045 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4);
    const encode = (v) => v <= 0.0031308 ? v * 12.92 : 1.055 * Math.pow(v, 1 / 2.4) - 0.055;
    const clamp = (v, low, high) => Math.min(high, Math.max(low, v));

    // Tables by i / STEPS, for no power is worked out for a pixel; their entries are less than 0.03 of a shade apart.
    const STEPS = 65535;
    // Made when first drawn with: the page opens without them.
    const table = (type, of) => {
        let made = null;
        return () => made ??= type.from({length: STEPS + 1}, (_, i) => of(i / STEPS));
    };
    const decoded = table(Float32Array, decode);
    const shadesOf = Object.fromEntries(Object.entries(RANGE).map(([form, [low, high]]) =>
        [form, table(Uint8ClampedArray, (v) => low + (high - low) * encode(v))]));

    /** Linear sRGB of a black body, its largest component 1 (Kim et al., US patent 7,024,034). */
    function kelvinToLinear(t) {
        const k = 1000 / t;
        const x = t <= 4000 ? ((-0.2661239 * k - 0.2343589) * k + 0.8776956) * k + 0.179910
            : ((-3.0258469 * k + 2.1070379) * k + 0.2226347) * k + 0.240390;
        const y = t <= 2222 ? ((-1.1063814 * x - 1.34811020) * x + 2.18555832) * x - 0.20219683
            : t <= 4000 ? ((-0.9549476 * x - 1.37418593) * x + 2.09137015) * x - 0.16748867
                : ((3.0817580 * x - 5.87338670) * x + 3.75112997) * x - 0.37001483;
        const X = x / y, Z = (1 - x - y) / y;
        const rgb = [3.2406 * X - 1.5372 - 0.4986 * Z, -0.9689 * X + 1.8758 + 0.0415 * Z,
            0.0557 * X - 0.2040 + 1.0570 * Z];
        const most = Math.max(...rgb);
        return rgb.map((v) => clamp(v / most, 0, 1));
    }

    /** A spec's colour, "#rrggbb", "#rgb" or "3200K", in linear light: three numbers in 0..1. */
    function linearColor(color) {
        if (!color.startsWith("#")) return kelvinToLinear(parseFloat(color));
        const digits = color.length === 4 ? [...color.slice(1)].map((d) => d + d).join("") : color.slice(1);
        return [0, 2, 4].map((i) => decode(parseInt(digits.slice(i, i + 2), 16) / 255));
    }

    /** A spec's colour as "#rrggbb", for what can only show that. */
    function cssColor(color) {
        return "#" + linearColor(color)
            .map((v) => Math.round(255 * encode(v)).toString(16).padStart(2, "0")).join("");
    }

    /** What a light of a spec gives off, in linear light: its colour times its intensity, three numbers from 0 on. */
    const emission = (light) => linearColor(light.color || "#ffffff").map((v) => v * (light.intensity ?? 1));

    const positions = (count) => Float64Array.from({length: count}, (_, i) => count > 1 ? i / (count - 1) : 0.5);

    /** Adds a light's share of each pixel to `total` (linear, three numbers a pixel). */
    function addLight(total, light, width, height) {
        const [red, green, blue] = emission(light);
        const us = positions(width), vs = positions(height);
        const directional = light.kind === "directional";
        const angle = (light.angle || 0) * Math.PI / 180;
        const dx = Math.cos(angle), dy = -Math.sin(angle), norm = Math.abs(dx) + Math.abs(dy);
        const reach = (light.radius ?? 0.5) * Math.min(width, height), hole = light.hole || 0;
        // What a pixel's column and its row add to the ramp's table index, or to the squared distance in radii.
        const share = directional
            ? [us.map((u) => STEPS * (0.5 + dx * (u - 0.5) / norm)), vs.map((v) => STEPS * dy * (v - 0.5) / norm)]
            : [us.map((u) => ((u - light.x) * width / reach) ** 2),
                vs.map((v) => ((v - light.y) * height / reach) ** 2)];
        const [ofColumn, ofRow] = share, slope = decoded();
        for (let row = 0, at = 0; row < height; row++) {
            const own = ofRow[row];
            for (let column = 0; column < width; column++, at += 3) {
                const sum = ofColumn[column] + own;
                let spread;
                if (directional) {
                    spread = slope[sum >= STEPS ? STEPS : sum > 0 ? (sum + 0.5) | 0 : 0];
                } else {
                    if (sum >= 1) continue;
                    const square = hole ? ((Math.sqrt(sum) - hole) / (1 - hole)) ** 2 : sum; // of a ring lamp
                    if (square >= 1) continue;
                    const edge = 1 - square * square;
                    spread = edge * edge / (1 + 16 * square);
                }
                total[at] += red * spread;
                total[at + 1] += green * spread;
                total[at + 2] += blue * spread;
            }
        }
    }

    /** Linear light, three numbers a pixel, as a picture in the form's range. */
    function toImage(total, width, height, form = "fc") {
        const pixels = new Uint8ClampedArray(width * height * 4), shades = shadesOf[form]();
        const shade = (linear) => shades[linear >= 1 ? STEPS : (linear * STEPS + 0.5) | 0];
        for (let from = 0, to = 0; from < total.length; from += 3, to += 4) {
            pixels[to] = shade(total[from]);
            pixels[to + 1] = shade(total[from + 1]);
            pixels[to + 2] = shade(total[from + 2]);
            pixels[to + 3] = 255;
        }
        return {width, height, data: pixels};
    }

    /**
     * The light map of a spec as a picture: opaque, each shade within 1/255 of the server's.
     * form: "fc" for an initial latent, "fbc" for a background drawn in place of a picture.
     */
    function draw(spec, width, height, form = "fc") {
        const total = new Float32Array(width * height * 3);
        const ambient = linearColor(spec.ambient || "#000000");
        for (let at = 0; at < total.length; at += 3) {
            total[at] = ambient[0];
            total[at + 1] = ambient[1];
            total[at + 2] = ambient[2];
        }
        for (const light of spec.lights || []) addLight(total, light, width, height);
        return toImage(total, width, height, form);
    }

    /** A matrix, row by row, that smooths a side of `count` pixels by a Gaussian; its rows sum to 1. */
    function gaussian(count, sigma) {
        const weights = new Float32Array(count * count);
        for (let to = 0; to < count; to++) {
            const row = weights.subarray(to * count, (to + 1) * count);
            for (let from = 0; from < count; from++) row[from] = Math.exp(-0.5 * ((to - from) / sigma) ** 2);
            const sum = row.reduce((a, b) => a + b, 0);
            for (let from = 0; from < count; from++) row[from] /= sum;
        }
        return weights;
    }

    /** Smooth along one side: `count` places, `step` numbers apart, in each of the lines that start at `starts`. */
    function smooth(values, count, step, starts, sigma) {
        const weights = gaussian(count, sigma), smoothed = new Float32Array(values.length);
        for (const start of starts) {
            for (let to = 0; to < count; to++) {
                let sum = 0;
                for (let from = 0; from < count; from++) {
                    sum += weights[to * count + from] * values[start + from * step];
                }
                smoothed[start + to * step] = sum;
            }
        }
        return smoothed;
    }

    /** The light of a picture without its things; see lib_iclight/lights/draw.py, `broad_light`. Small pictures only. */
    function broadLight(image, blur) {
        if (!blur) return image;
        const {width, height, data} = image, sigma = blur * Math.min(width, height);
        let linear = new Float32Array(width * height * 3);
        for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
            for (let channel = 0; channel < 3; channel++) linear[to + channel] = decode(data[from + channel] / 255);
        }
        const columns = Array.from({length: width * 3}, (_, i) => i);
        const rows = Array.from({length: height * 3}, (_, i) => Math.floor(i / 3) * width * 3 + i % 3);
        linear = smooth(linear, height, width * 3, columns, sigma);
        return toImage(smooth(linear, width, 3, rows, sigma), width, height);
    }

    /** The light map of a light (name or JSON text) as a picture; null for no light. Throws for what is neither. */
    function map(light, presets, width, height, form = "fc") {
        const spec = parse(light, presets);
        if (isNone(spec)) return null;
        const image = draw(spec, width, height, form);
        if (light === "ambient") { // by its name drawn as the reference draws it
            for (let at = 0; at < image.data.length; at += 4) image.data.fill(AMBIENT[form], at, at + 3);
        }
        return image;
    }

    /** The spec that a light stands for, as an object of its own. Throws for what is neither a name nor JSON. */
    function parse(light, presets) {
        const text = (light || "none").trim();
        const spec = text.startsWith("{") ? JSON.parse(text) : presets[text];
        if (!spec) throw new Error("unknown light " + text);
        return {ambient: spec.ambient || "#000000", lights: (spec.lights || []).map((one) => ({...one}))};
    }

    const isNone = (spec) => !spec.lights.length && /^#0+$/.test(spec.ambient);

    /** A spec as the text that settings, infotext and the API hold; "none" for no light. */
    const format = (spec) => isNone(spec) ? "none" : JSON.stringify(spec);

    iclight.lights = {
        MIN_KELVIN, MAX_KELVIN, clamp, decode, encode, linearColor, cssColor, emission, draw, broadLight, map, parse,
        format, isNone,
    };
})();
