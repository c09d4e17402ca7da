// Painting a mixture on a canvas, in every frame of a drag: by WebGL 2, or without it on a plain canvas.
//
// With WebGL the set is one array texture, stored as sRGB, so that reading it gives linear light. The weights are a
// texture too, so that one pass adds up as many pictures as an array texture has layers; sums are 32-bit floats.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {make} = iclight.page;
    const {Sum, over} = iclight.pixels;

    const QUICK_PIXELS = 2 ** 16; // of a plain canvas while something moves, times one picture
    const BACKGROUND = {own: 0, picture: 1, none: 2};

    const VERTEX = `#version 300 es
        void main() { gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0); }`;
    const FRAGMENT = `#version 300 es
        precision highp float;
        precision highp sampler2DArray;
        uniform sampler2DArray pictures;
        uniform sampler2D weights, mask, under;
        uniform int count, height, background;
        out vec4 color;
        void main() {
            ivec2 at = ivec2(int(gl_FragCoord.x), height - 1 - int(gl_FragCoord.y));
            vec3 total = vec3(0.0);
            for (int i = 0; i < count; i++) {
                vec4 weight = texelFetch(weights, ivec2(i, 0), 0); // and the picture's number
                total += weight.rgb * texelFetch(pictures, ivec3(at, int(weight.a)), 0).rgb;
            }
            total = clamp(total, 0.0, 1.0);
            vec3 curve = 1.055 * pow(total, vec3(1.0 / 2.4)) - 0.055;
            vec3 code = mix(total * 12.92, curve, vec3(greaterThan(total, vec3(0.0031308))));
            float alpha = texelFetch(mask, at, 0).r;
            if (background == 1) code = mix(texelFetch(under, at, 0).rgb, code, alpha);
            color = background == 2 ? vec4(code * alpha, alpha) : vec4(code, 1.0);
        }`;

    class GlPainter {
        /**
         * Throws an Error where there is no WebGL 2, or the set is too large for it, or, unless `slow` is allowed, where
         * the processor draws for it: a redraw then takes many times as long as on a plain canvas. lost(): it is gone.
         */
        constructor(set, lost, slow) {
            this.set = set;
            this.canvas = make("canvas", {width: set.viewWidth, height: set.viewHeight});
            const gl = this.gl = this.canvas.getContext("webgl2", {antialias: false, depth: false, alpha: true,
                preserveDrawingBuffer: true, powerPreference: "high-performance"});
            if (!gl) throw new Error("no WebGL 2");
            if (!slow && iclight.canvas.bySoftware(gl)) throw new Error("no graphics card");
            const {viewWidth: width, viewHeight: height, lamps} = set;
            if (lamps.length > gl.getParameter(gl.MAX_ARRAY_TEXTURE_LAYERS)
                || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) throw new Error("too large");
            this.canvas.addEventListener("webglcontextlost", (event) => {
                event.preventDefault();
                lost();
            });
            this.program = this.link();
            gl.useProgram(this.program);
            this.at = Object.fromEntries(["pictures", "weights", "mask", "under", "count", "height", "background"]
                .map((name) => [name, gl.getUniformLocation(this.program, name)]));
            ["pictures", "weights", "mask", "under"].forEach((name, unit) => gl.uniform1i(this.at[name], unit));
            gl.uniform1i(this.at.height, height);
            gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
            this.texture(0, gl.TEXTURE_2D_ARRAY);
            gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, gl.SRGB8_ALPHA8, width, height, lamps.length);
            for (let number = 0; number < lamps.length; number++) {
                gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, number, width, height, 1, gl.RGBA, gl.UNSIGNED_BYTE,
                    new Uint8Array(set.view(number).data.buffer));
            }
            if (gl.getError() !== gl.NO_ERROR) throw new Error("out of memory");
            this.texture(1, gl.TEXTURE_2D);
            this.texture(2, gl.TEXTURE_2D);
            const mask = set.viewMask() || new Uint8ClampedArray(width * height).fill(255);
            gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, width, height, 0, gl.RED, gl.UNSIGNED_BYTE,
                new Uint8Array(mask.buffer));
            this.texture(3, gl.TEXTURE_2D);
            this.setBackground(null);
        }

        link() {
            const {gl} = this, program = gl.createProgram();
            for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
                const shader = gl.createShader(kind);
                gl.shaderSource(shader, source);
                gl.compileShader(shader);
                gl.attachShader(program, shader);
            }
            gl.linkProgram(program);
            if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
            return program;
        }

        texture(unit, kind) {
            const {gl} = this;
            gl.activeTexture(gl.TEXTURE0 + unit);
            gl.bindTexture(kind, gl.createTexture());
            for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(kind, name, gl.NEAREST);
            for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(kind, name, gl.CLAMP_TO_EDGE);
        }

        /** pixels: a picture of the view's size that the subject can be set before, or null. */
        setBackground(pixels) {
            const {gl} = this, [width, height] = pixels ? [pixels.width, pixels.height] : [1, 1];
            gl.activeTexture(gl.TEXTURE3);
            gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE,
                pixels ? new Uint8Array(pixels.data.buffer) : new Uint8Array(4));
        }

        /** background: "own", "picture" (of `setBackground`) or "none". */
        paint({weights, factor, background}) {
            const {gl, at} = this, rows = [];
            weights.forEach((weight, number) => {
                if (weight.some(Boolean)) rows.push(...weight.map((value) => value * factor), number);
            });
            gl.viewport(0, 0, this.canvas.width, this.canvas.height);
            gl.activeTexture(gl.TEXTURE1);
            gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, Math.max(rows.length / 4, 1), 1, 0, gl.RGBA, gl.FLOAT,
                Float32Array.from(rows.length ? rows : [0, 0, 0, 0]));
            gl.uniform1i(at.count, rows.length / 4);
            gl.uniform1i(at.background, BACKGROUND[background]);
            gl.drawArrays(gl.TRIANGLES, 0, 3);
        }

        /** What was painted last, as a picture (its colours multiplied by alpha). */
        read() {
            const {gl} = this, {width, height} = this.canvas, upside = new Uint8Array(4 * width * height);
            gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, upside);
            const data = new Uint8ClampedArray(upside.length);
            for (let row = 0; row < height; row++) {
                data.set(upside.subarray(4 * width * row, 4 * width * (row + 1)), 4 * width * (height - 1 - row));
            }
            return {width, height, data};
        }

        close() { this.gl.getExtension("WEBGL_lose_context")?.loseContext(); }
    }

    /** Every step-th pixel of a picture in both directions; a mask's where there is one byte a pixel. */
    function thinned({width, height, data}, step) {
        const bytes = data.length / (width * height), w = Math.ceil(width / step), h = Math.ceil(height / step);
        const thin = new Uint8ClampedArray(w * h * bytes);
        for (let y = 0, to = 0; y < h; y++) {
            for (let x = 0; x < w; x++) {
                const from = bytes * (y * step * width + x * step);
                for (let byte = 0; byte < bytes; byte++) thin[to++] = data[from + byte];
            }
        }
        return {width: w, height: h, data: thin};
    }

    class PlainPainter {
        constructor(set) {
            this.canvas = make("canvas", {width: set.viewWidth, height: set.viewHeight});
            this.canvas.style.aspectRatio = `${set.viewWidth} / ${set.viewHeight}`; // also of fewer pixels
            this.context = this.canvas.getContext("2d");
            const pictures = set.lamps.map((_, number) => set.view(number)), data = set.viewMask();
            const mask = data && {width: set.viewWidth, height: set.viewHeight, data};
            const pixels = set.viewWidth * set.viewHeight * Math.sqrt(pictures.length);
            this.step = Math.max(1, Math.round(Math.sqrt(pixels / QUICK_PIXELS)));
            this.rest = {pictures, mask, under: null};
            this.quick = this.step === 1 ? this.rest : {pictures: pictures.map((one) => thinned(one, this.step)),
                mask: mask && thinned(mask, this.step), under: null};
        }

        setBackground(pixels) {
            this.rest.under = pixels;
            if (this.step > 1) this.quick.under = pixels && thinned(pixels, this.step);
        }

        /** moving: paint quickly, with fewer pixels. */
        paint({weights, factor, background, moving}) {
            const {pictures, mask, under} = moving ? this.quick : this.rest, [{width, height}] = pictures;
            const sum = new Sum(width, height);
            pictures.forEach(({data}, number) => {
                if (weights[number].some(Boolean)) sum.add(data, weights[number].map((value) => value * factor));
            });
            const made = sum.picture();
            if (background !== "own" && mask) over(made, mask.data, background === "none" ? null : under);
            this.painted = made;
            // The page scales fewer pixels to its own size: quicker than drawing them larger here.
            if (this.canvas.width !== width) Object.assign(this.canvas, {width, height});
            this.context.putImageData(new ImageData(made.data, width, height), 0, 0);
        }

        read() { return this.painted; }

        close() {}
    }

    /**
     * A painter of a set: WebGL's where it is there and quick. plain: true has none of it, false has it slow too.
     * lost(): WebGL's went away.
     */
    function painterFor(set, plain, lost) {
        if (plain !== true) {
            try {
                return new GlPainter(set, lost, plain === false);
            } catch {
                // a plain canvas serves
            }
        }
        return new PlainPainter(set);
    }

    iclight.painter = {painterFor, GlPainter, PlainPainter};
})();
