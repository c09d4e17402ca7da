// Environments: the light from all around, as a panorama, and what it means for a set's lights. The formulas of
// lib_iclight/stage/hdr.py and environment.py (the weights that do not jump when it turns), in JavaScript.
//
// A panorama is {width, height, data}: linear radiance, three numbers a pixel, row by row from straight up; its middle
// is what lies behind the subject. Nothing here needs a page, so that the tests run it in node.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {decode} = iclight.lights;
    const {LUMINANCE, dot, sorted, sharing} = iclight.mix;

    const WIDTH = 64, HEIGHT = 32; // what a panorama is averaged to
    const MAX_PIXELS = 2 ** 27;
    const MAX_HEADER = 64; // lines

    // Radiance .hdr: a pixel is (mantissa + 0.5) * 2^(exponent - 136), or 0 where the exponent is 0.

    const SHORT = "The .hdr file is cut short. Copy or download it anew.";
    const DAMAGED = "The .hdr file is damaged. Copy or download it anew.";

    /** Reads bytes one after another; throws an Error behind the last. */
    class Bytes {
        constructor(data) {
            this.data = data;
            this.at = 0;
        }

        /** The next `count` bytes. */
        take(count) {
            if (this.at + count > this.data.length) throw new Error(SHORT);
            this.at += count;
            return this.data.subarray(this.at - count, this.at);
        }

        line() {
            const end = this.data.indexOf(10, this.at), from = this.at;
            if (end < 0) throw new Error(SHORT);
            this.at = end + 1;
            return String.fromCharCode(...this.data.subarray(from, Math.min(end, from + 4096))).trim();
        }
    }

    /** One channel of a row in the new run-length form, every fourth byte of `row` from `channel` on. */
    function runs(bytes, row, channel, length) {
        for (let at = 0; at < length;) {
            const [count] = bytes.take(1), size = count > 128 ? count - 128 : count;
            if (!size || at + size > length) throw new Error(DAMAGED);
            const values = bytes.take(count > 128 ? 1 : size);
            for (let i = 0; i < size; i++) row[4 * (at + i) + channel] = values[count > 128 ? 0 : i];
            at += size;
        }
    }

    /** A row of pixels as they are, or in the old form, where (1, 1, 1, n) repeats the pixel before n times. */
    function flat(bytes, row, length) {
        for (let at = 0, shift = 0; at < length;) {
            const pixel = bytes.take(4);
            if (pixel[0] === 1 && pixel[1] === 1 && pixel[2] === 1) {
                const size = pixel[3] * 2 ** shift;
                shift += 8;
                if (!at || at + size > length || shift > 24) throw new Error(DAMAGED);
                for (let i = 0; i < size; i++, at++) row.copyWithin(4 * at, 4 * at - 4, 4 * at);
            } else {
                row.set(pixel, 4 * at++);
                shift = 0;
            }
        }
    }

    /** {lines, length, place(line, column), exposure} of a Radiance picture's header. */
    function header(bytes) {
        if (!bytes.line().startsWith("#?")) throw new Error("This is no Radiance .hdr file.");
        let exposure = 1;
        for (let i = 0; i < MAX_HEADER; i++) {
            const line = bytes.line();
            if (!line) break;
            const [key, value = ""] = line.split("=").map((part) => part.trim());
            if (key === "FORMAT" && value !== "32-bit_rle_rgbe") {
                throw new Error("The .hdr file holds colours of another kind than RGBE. Save it as RGBE.");
            }
            if (key === "EXPOSURE") exposure *= Number(value || NaN);
        }
        const axes = /^([-+])([XY]) +(\d{1,6}) +([-+])([XY]) +(\d{1,6})$/.exec(bytes.line());
        const [lines, length] = axes ? [Number(axes[3]), Number(axes[6])] : [0, 0];
        if (!axes || axes[2] === axes[5] || !(exposure > 0 && exposure < Infinity) || !lines || !length
            || lines * length > MAX_PIXELS) {
            throw new Error("The .hdr file has a header that cannot be read, or is too large. Save it anew.");
        }
        // Lines are counted along the first axis; -Y counts from the top, +X from the left.
        const across = axes[2] === "X", [width, height] = across ? [lines, length] : [length, lines];
        const flipX = (across ? axes[1] : axes[4]) === "-", flipY = (across ? axes[4] : axes[1]) === "+";
        const place = (line, column) => {
            const [x, y] = across ? [line, column] : [column, line];
            return (flipY ? height - 1 - y : y) * width + (flipX ? width - 1 - x : x);
        };
        return {lines, length, width, height, place, exposure};
    }

    /** The panorama of a Radiance picture's bytes (Uint8Array). Throws an Error with a sentence for what is none. */
    function readHdr(data) {
        const bytes = new Bytes(data), {lines, length, width, height, place, exposure} = header(bytes);
        const linear = new Float32Array(width * height * 3), row = new Uint8Array(4 * length);
        const scales = Float64Array.from({length: 256}, (_, e) => e ? 2 ** (e - 136) / exposure : 0);
        for (let line = 0; line < lines; line++) {
            const head = bytes.take(4);
            if (length >= 8 && length < 32768 && head[0] === 2 && head[1] === 2 && head[2] < 128) {
                if (head[2] * 256 + head[3] !== length) throw new Error(DAMAGED);
                for (let channel = 0; channel < 4; channel++) runs(bytes, row, channel, length);
            } else {
                bytes.at -= 4;
                flat(bytes, row, length);
            }
            for (let column = 0; column < length; column++) {
                const to = 3 * place(line, column), scale = scales[row[4 * column + 3]];
                for (let channel = 0; channel < 3; channel++) {
                    linear[to + channel] = (row[4 * column + channel] + 0.5) * scale;
                }
            }
        }
        return {width, height, data: linear};
    }

    /** The panorama of an ordinary picture (as ImageData is): sRGB, which ends at white. */
    function fromPicture({width, height, data}) {
        const linear = new Float32Array(width * height * 3);
        const table = Float32Array.from({length: 256}, (_, code) => decode(code / 255));
        for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
            for (let channel = 0; channel < 3; channel++) linear[to + channel] = table[data[from + channel]];
        }
        return {width, height, data: linear};
    }

    // The grid ------------------------------------------------------------------------------------------------------

    /** Which places of a side of `from` each of `to` is the mean of: [first, behind the last]. As Pillow's BOX. */
    const boxes = (from, to) => Array.from({length: to}, (_, i) => {
        const scale = from / to, half = Math.max(scale, 1) / 2, middle = (i + 0.5) * scale;
        return [Math.max(0, Math.floor(middle - half + 0.5)), Math.min(from, Math.floor(middle + half + 0.5))];
    });

    /**
     * A panorama averaged to WIDTH x HEIGHT, three numbers a point: what `environmentWeights` takes. Throws an Error
     * where it is not twice as wide as high, is not finite or is black.
     */
    function gridOf({width, height, data}) {
        if (Math.abs(width - 2 * height) > Math.max(1, 0.02 * height)) {
            throw new Error(`It is ${width} x ${height} pixels. A panorama of all around is twice as wide as high.`);
        }
        const columns = boxes(width, WIDTH), rows = boxes(height, HEIGHT);
        const grid = new Float64Array(WIDTH * HEIGHT * 3);
        rows.forEach(([top, bottom], row) => columns.forEach(([left, right], column) => {
            for (let channel = 0; channel < 3; channel++) {
                let total = 0;
                for (let y = top; y < bottom; y++) {
                    for (let x = left; x < right; x++) total += Math.max(data[3 * (y * width + x) + channel], 0);
                }
                grid[3 * (row * WIDTH + column) + channel] = total / ((bottom - top) * (right - left));
            }
        }));
        if (!grid.every(Number.isFinite)) throw new Error("It holds values that are no numbers. Save it anew.");
        if (!grid.some(Boolean)) throw new Error("It is black, so there is no light in it.");
        return grid;
    }

    /**
     * The weights that light the subject as a grid turned by `rotation` degrees does, exposed by so many stops; null
     * where no lamp has a direction. saturation: 0 makes them grey, which keeps skin colours; 1 leaves their colour.
     */
    function environmentWeights(grid, lamps, {rotation = 0, saturation = 1, stops = 0} = {}) {
        const {sides, fill, real} = sorted(lamps), shares = sharing(lamps);
        if (!sides.length && !fill.length) return null;
        const dome = real.length >= 3, taking = dome ? real.length : sides.length + fill.length;
        const ahead = dome && real.every((number) => lamps[number].direction[2] > -0.05);
        const weights = lamps.map(() => [0, 0, 0]);
        let sphere = 0, counted = 0;
        for (let row = 0, at = 0; row < HEIGHT; row++) {
            const latitude = Math.PI / 2 - (row + 0.5) / HEIGHT * Math.PI;
            const solid = (Math.cos(row / HEIGHT * Math.PI) - Math.cos((row + 1) / HEIGHT * Math.PI))
                * 2 * Math.PI / WIDTH;
            for (let column = 0; column < WIDTH; column++, at += 3) {
                sphere += solid;
                const longitude = ((column + 0.5) / WIDTH * 2 - 1) * Math.PI + rotation * Math.PI / 180;
                const toward = [Math.sin(longitude) * Math.cos(latitude), Math.sin(latitude),
                    -Math.cos(longitude) * Math.cos(latitude)];
                if (ahead && toward[2] <= 0) continue;
                counted += solid;
                shares(toward).forEach((share, number) => {
                    if (!share) return;
                    for (let channel = 0; channel < 3; channel++) {
                        weights[number][channel] += share * solid * grid[at + channel];
                    }
                });
            }
        }
        const gain = sphere / counted * taking / (4 * Math.PI) * 2 ** stops;
        return weights.map((weight) => {
            const grey = dot(weight, LUMINANCE);
            return weight.map((value) => gain * (grey + saturation * (value - grey)));
        });
    }

    iclight.environment = {WIDTH, HEIGHT, readHdr, fromPicture, gridOf, environmentWeights};
})();
