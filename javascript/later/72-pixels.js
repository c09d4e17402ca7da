// Mixing pixels: the weighted sum of a set's pictures in linear light, and its automatic exposure. As
// lib_iclight/stage/mix.py does it, in JavaScript; where there is WebGL, 76-painter.js mixes in its place.
//
// Pictures are what ImageData is, {width, height, data}: sRGB, four bytes a pixel. Nothing here needs a page.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {decode, encode} = iclight.lights;
    const {LUMINANCE} = iclight.mix;

    const SAMPLES = 128; // points a (mean) side at which a set is looked at for its exposure
    const BRIGHT = 0.99; // share of the subject that is darker than what exposure keeps
    const DARKEST = 1e-6; // luminance under which a mixture counts as black
    const STEPS = 65535;

    const linear = Float32Array.from({length: 256}, (_, code) => decode(code / 255));
    let shades = null;
    /** sRGB codes by linear light in 1 / STEPS; made when first mixed with. */
    const codes = () => shades ??= Uint8Array.from({length: STEPS + 1}, (_, i) => Math.round(255 * encode(i / STEPS)));

    /** The pixels that a set of this size is looked at: their numbers, where alpha (a byte a pixel, or null) is set. */
    function places(width, height, alpha) {
        const step = Math.max(1, Math.floor(Math.sqrt(width * height) / SAMPLES)), all = [];
        for (let y = Math.floor(step / 2); y < height; y += step) {
            for (let x = Math.floor(step / 2); x < width; x += step) all.push(y * width + x);
        }
        const inside = alpha ? all.filter((at) => alpha[at] > 127.5) : all;
        return Uint32Array.from(inside.length ? inside : all);
    }

    /** A picture at those pixels, linear, three numbers each. */
    function sampleOf({data}, at) {
        const sample = new Float32Array(3 * at.length);
        at.forEach((place, i) => {
            for (let channel = 0; channel < 3; channel++) sample[3 * i + channel] = linear[data[4 * place + channel]];
        });
        return sample;
    }

    /** The luminance, at the percentile that exposure keeps, of the mixture of samples. */
    function bright(samples, weights) {
        const luminance = new Float32Array(samples[0].length / 3);
        samples.forEach((sample, number) => {
            const [r, g, b] = weights[number].map((value, channel) => value * LUMINANCE[channel]);
            if (!r && !g && !b) return;
            for (let i = 0, at = 0; i < luminance.length; i++, at += 3) {
                luminance[i] += r * sample[at] + g * sample[at + 1] + b * sample[at + 2];
            }
        });
        luminance.sort();
        const place = (luminance.length - 1) * BRIGHT, below = Math.floor(place);
        const above = Math.min(below + 1, luminance.length - 1);
        return luminance[below] + (place - below) * (luminance[above] - luminance[below]);
    }

    /** A function: the factor that makes the bright part of a mixture what it is in the mean of the set. */
    function metering(samples) {
        const wanted = bright(samples, samples.map(() => [1, 1, 1].map((one) => one / samples.length)));
        return (weights) => {
            const found = bright(samples, weights);
            return found > DARKEST && wanted > 0 ? wanted / found : 1;
        };
    }

    /** A sum of pictures in linear light, one after another; large ones need not all be in memory. */
    class Sum {
        constructor(width, height) {
            this.width = width;
            this.height = height;
            this.total = new Float32Array(3 * width * height);
        }

        /** Add pixels (four bytes each) with a weight, [red, green, blue]. */
        add(data, weight) {
            const {total} = this, [red, green, blue] = weight.map((value) => linear.map((one) => one * value));
            for (let from = 0, to = 0; to < total.length; from += 4, to += 3) {
                total[to] += red[data[from]];
                total[to + 1] += green[data[from + 1]];
                total[to + 2] += blue[data[from + 2]];
            }
        }

        /** The mixture as a picture; what is beyond white becomes white. */
        picture() {
            const {total, width, height} = this, data = new Uint8ClampedArray(4 * width * height), table = codes();
            const code = (value) => table[value >= 1 ? STEPS : (value * STEPS + 0.5) | 0];
            for (let from = 0, to = 0; from < total.length; from += 3, to += 4) {
                data[to] = code(total[from]);
                data[to + 1] = code(total[from + 1]);
                data[to + 2] = code(total[from + 2]);
                data[to + 3] = 255;
            }
            return {width, height, data};
        }
    }

    /**
     * The subject of a mixture before something else: `background`, a picture of the same size, or null for nothing,
     * which leaves the rest transparent. alpha: a byte a pixel. Blended on sRGB values. Changes the mixture.
     */
    function over({data}, alpha, background) {
        for (let pixel = 0, at = 0; pixel < alpha.length; pixel++, at += 4) {
            if (background) {
                const share = alpha[pixel] / 255;
                for (let channel = 0; channel < 3; channel++) {
                    const under = background.data[at + channel];
                    data[at + channel] = Math.round(under + share * (data[at + channel] - under));
                }
            } else {
                data[at + 3] = alpha[pixel];
            }
        }
    }

    iclight.pixels = {places, sampleOf, metering, Sum, over};
})();
