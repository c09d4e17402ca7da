// The photo under a light while it is dragged: drawn by the graphics card (WebGL 2), or on a canvas where there is none.
// The pictures are the panel's cut-out and its normal map; see 25-sketch.js for what is done with them.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {covered, prepare, lampsOf, paint, constants} = iclight.sketch;
    const page = iclight.page;
    const {make} = page;

    const MOST_LAMPS = 32; // of a spec
    const QUICK_SIDE = 192; // the longer side while something is dragged, without a graphics card

    const number = (value) => value.toFixed(8);
    const VERTEX = `#version 300 es
        void main() { gl_Position = vec4(gl_VertexID == 1 ? 3. : -1., gl_VertexID == 2 ? 3. : -1., 0., 1.); }`;
    // The formula of docs/preview.md.
    const FRAGMENT = () => `#version 300 es
        precision highp float;
        precision highp sampler2D;
        ${Object.entries(constants).map(([name, value]) => `const float ${name} = ${number(value)};`).join("\n")}
        uniform sampler2D colors, behind, normals;
        uniform vec2 size, sides;
        uniform int count;
        uniform vec4 lamps[${MOST_LAMPS}];
        uniform vec3 tints[${MOST_LAMPS}];
        uniform vec3 ambient;
        uniform bool lit;
        out vec4 result;

        vec3 decode(vec3 v) {
            return mix(pow((v + 0.055) / 1.055, vec3(2.4)), v / 12.92, lessThanEqual(v, vec3(0.04045)));
        }

        vec3 encode(vec3 v) {
            return mix(1.055 * pow(max(v, 1e-8), vec3(1. / 2.4)) - 0.055, v * 12.92, lessThanEqual(v, vec3(0.0031308)));
        }

        vec4 ray(vec4 lamp, vec2 at) {
            if (lamp.w == 0.) {
                vec2 from = lamp.xy, off = at - 0.5;
                return vec4(cos(ELEVATION) * from, sin(ELEVATION),
                    1. + 2. * SLOPE * (from.x * off.x - from.y * off.y) / (abs(from.x) + abs(from.y)));
            }
            if (lamp.w == 2.) return vec4(0., 0., 1., 1.);
            vec2 flat_way = vec2(lamp.x - at.x * sides.x, at.y * sides.y - lamp.y);
            float square = dot(flat_way, flat_way), reach = lamp.z * lamp.z, q = min(square / reach, 1.);
            vec3 way = vec3(flat_way, LAMP_NEAR + LAMP_FAR * reach);
            return vec4(way * inversesqrt(dot(way, way)), (1. - q * q) * (1. - q * q) / (1. + 4. * q));
        }

        void main() {
            ivec2 place = ivec2(int(gl_FragCoord.x), int(size.y) - 1 - int(gl_FragCoord.y));
            vec2 at = (vec2(place) + 0.5) / size;
            vec4 color = texelFetch(colors, place, 0), under = texelFetch(behind, place, 0);
            vec4 normal = texelFetch(normals, place, 0);
            vec3 shown = color.rgb;
            if (lit) {
                vec3 total = ambient, shine = vec3(0.), linear = decode(color.rgb);
                for (int i = 0; i < count; i++) {
                    vec4 toward = ray(lamps[i], at);
                    float cosine = dot(normal.xyz, toward.xyz);
                    float soft = FILL + (1. - FILL) * clamp((cosine + WRAP) / (1. + WRAP), 0., 1.);
                    float glance = clamp((cosine + normal.z) * inversesqrt(2. + 2. * toward.z), 0., 1.);
                    glance *= glance; glance *= glance; glance *= glance; glance *= glance;
                    total += tints[i] * toward.w * soft;
                    shine += tints[i] * toward.w * glance;
                }
                vec3 sum = linear * total * normal.w + SHEEN * (dot(linear, vec3(1. / 3.)) + DULL) * shine;
                sum = min(sum, MOST);
                shown = encode(min(sum, KNEE) + (1. - KNEE) * (1. - exp(-max(sum - KNEE, 0.) / (1. - KNEE))));
            }
            result = vec4(min(under.rgb + color.a * shown, 1.), under.a);
        }`;

    /** The graphics card's painter of prepared pictures. Throws where there is none, or it cannot do it. */
    class Card {
        constructor() {
            this.canvas = make("canvas");
            const gl = this.gl = this.canvas.getContext("webgl2", {antialias: false, depth: false});
            if (!gl) throw new Error("there is no WebGL 2");
            this.slow = iclight.canvas.bySoftware(gl);
            this.program = gl.createProgram();
            for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT()]]) {
                const shader = gl.createShader(kind);
                gl.shaderSource(shader, text);
                gl.compileShader(shader);
                gl.attachShader(this.program, shader);
            }
            gl.linkProgram(this.program);
            if (!gl.getProgramParameter(this.program, gl.LINK_STATUS)) {
                throw new Error(gl.getProgramInfoLog(this.program) || "the context is lost");
            }
            gl.useProgram(this.program);
            this.places = new Proxy({}, {get: (kept, name) => kept[name] ??= gl.getUniformLocation(this.program, name)});
            this.textures = ["colors", "behind", "normals"].map((name, unit) => {
                const texture = gl.createTexture();
                gl.activeTexture(gl.TEXTURE0 + unit);
                gl.bindTexture(gl.TEXTURE_2D, texture);
                for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
                    gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
                }
                gl.uniform1i(this.places[name], unit);
                return texture;
            });
        }

        take({width, height, color, behind, normals}) {
            const {gl} = this;
            [this.canvas.width, this.canvas.height] = [width, height];
            gl.viewport(0, 0, width, height);
            [[gl.RGBA8, gl.UNSIGNED_BYTE, color], [gl.RGBA8, gl.UNSIGNED_BYTE, behind],
                [gl.RGBA32F, gl.FLOAT, normals]].forEach(([inner, type, data], unit) => {
                gl.activeTexture(gl.TEXTURE0 + unit);
                const bytes = data instanceof Float32Array ? data : new Uint8Array(data.buffer);
                gl.texImage2D(gl.TEXTURE_2D, 0, inner, width, height, 0, gl.RGBA, type, bytes);
            });
        }

        /** The canvas, with the picture that was taken under a light. */
        paint(prepared, spec) {
            const {gl, places} = this;
            if (gl.isContextLost()) throw new Error("the context is lost");
            if (this.taken !== prepared) this.take(this.taken = prepared);
            const {width, height} = prepared;
            const light = lampsOf(spec || {ambient: "#000000", lights: []}, [width, height]);
            gl.uniform2f(places.size, width, height);
            gl.uniform2f(places.sides, light.wide, light.high);
            gl.uniform1i(places.lit, spec ? 1 : 0);
            gl.uniform3fv(places.ambient, light.ambient);
            gl.uniform1i(places.count, light.lamps.length);
            if (light.lamps.length) {
                gl.uniform4fv(places.lamps, light.lamps.flatMap(({kind, at}) => [...at, kind]));
                gl.uniform3fv(places.tints, light.lamps.flatMap(({color}) => color));
            }
            gl.drawArrays(gl.TRIANGLES, 0, 3);
            return this.canvas;
        }
    }

    /** The same on a canvas, without a graphics card. */
    class Plain {
        constructor() {
            this.canvas = make("canvas");
            this.slow = true;
        }

        paint(prepared, spec) {
            const {width, height, data} = paint(prepared, spec);
            for (let at = 0; at < data.length; at += 4) { // a canvas takes straight alpha
                const alpha = data[at + 3];
                if (alpha === 255 || !alpha) continue;
                for (let i = 0; i < 3; i++) data[at + i] = data[at + i] * 255 / alpha;
            }
            [this.canvas.width, this.canvas.height] = [width, height];
            this.canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
            return this.canvas;
        }
    }

    /** An image at a size that it covers, as pixels with straight alpha. */
    function pixels(image, size, {flipped = false} = {}) {
        const canvas = make("canvas", {width: size[0], height: size[1]});
        const context = canvas.getContext("2d", {willReadFrequently: true});
        context.imageSmoothingQuality = "high";
        if (flipped) context.setTransform(-1, 0, 0, 1, size[0], 0);
        context.drawImage(image, ...covered([image.naturalWidth, image.naturalHeight], size));
        return context.getImageData(0, 0, ...size);
    }

    class Preview {
        constructor() {
            this.kept = {}; // prepared pictures: at rest, and a small one
        }

        /**
         * The photo under a light as {canvas, opaque}; see page.js, `subject`, for `subject`. size: the canvas's.
         * spec: null for none. photo, background: images; the latter may be null, `flipped` says whether it is mirrored.
         */
        draw({subject, photo, background, flipped, spec, size, moving}) {
            this.painter ??= painter();
            const quick = moving && this.painter.slow, most = Math.max(...size);
            const side = quick ? size.map((one) => Math.max(2, Math.round(one / most * QUICK_SIDE))) : size;
            const key = [subject.color.src, subject.normals.src, photo.src, background?.src, flipped, side].join();
            const name = quick ? "quick" : "rest";
            if (this.kept[name]?.key !== key) {
                const map = subject.normals;
                this.kept[name] = {key, prepared: prepare({
                    color: pixels(subject.color, side), photo: pixels(photo, side), own: subject.own,
                    background: background && pixels(background, side, {flipped}),
                    map: pixels(map, [map.naturalWidth, map.naturalHeight])})};
            }
            try {
                const {prepared} = this.kept[name];
                return {canvas: this.painter.paint(prepared, spec), opaque: prepared.opaque};
            } catch { // the card was taken away
                this.painter = new Plain();
                return this.draw({subject, photo, background, flipped, spec, size, moving});
            }
        }
    }

    function painter() {
        try {
            return new Card();
        } catch {
            return new Plain();
        }
    }

    /** The switch between the light map and the photo under the light. changed: is called when it was moved. */
    class Views {
        constructor(tab, changed) {
            this.tab = tab;
            this.changed = changed;
            this.onPhoto = true; // what is wanted, where it can be
        }

        build(texts) {
            this.buttons = ["onMap", "onPhoto"].map((name) => make("button", {type: "button", role: "radio",
                class: "iclight-button", "data-view": name, click: () => this.move(name === "onPhoto")}, texts[name]));
            this.element = make("div", {class: "iclight-tools iclight-views", role: "radiogroup",
                "aria-label": texts.views, keydown: (event) => this.key(event)}, ...this.buttons);
            this.caption = make("p", {class: "iclight-message"}, texts.sketch);
        }

        /** Whether the photo can be shown under the light: it is cut out, and no light map takes the light's place. */
        get canSketch() { return !page.mapPicture(this.tab) && page.subject(this.tab) !== null; }

        get sketches() { return this.onPhoto && this.canSketch; }

        move(onPhoto) {
            this.onPhoto = onPhoto;
            this.changed();
        }

        /** The arrow keys, as in any choice. */
        key(event) {
            if (!event.key.startsWith("Arrow") || !this.canSketch) return;
            this.move(!this.onPhoto);
            this.buttons[Number(this.onPhoto)].focus();
            event.preventDefault();
        }

        refresh() {
            const {canSketch, sketches} = this;
            this.buttons.forEach((button, i) => {
                const chosen = Boolean(i) === sketches;
                button.setAttribute("aria-checked", String(chosen));
                button.tabIndex = chosen ? 0 : -1;
                button.disabled = !canSketch && !chosen;
            });
            this.caption.hidden = !sketches;
        }
    }

    iclight.preview = {Preview, Views, Card, Plain, pixels};
})();
