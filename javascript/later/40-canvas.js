// The canvas with the lights on it: it paints what it is given, and says where a finger or the mouse is. It knows
// nothing of the panel.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {cssColor, broadLight} = iclight.lights;
    const {handles} = iclight.lamps;
    const {make} = iclight.page;

    const DRAG_SIDE = 128; // the light map's longer side while something is dragged
    const REST_SIDE = 512; // and at rest
    const BLUR_SIDE = 96; // of a reference picture of which only the light is shown
    const HANDLE = {chosen: 11, other: 8, size: 5}; // radii in pixels of the screen; of the square half its side
    const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i; // the processor in a graphics card's place
    const PICTURE_SHARE = 0.35; // of the picture that lies over its light

    const toImageData = ({data, width, height}) => new ImageData(data, width, height);

    /** A picture of lights.js as a canvas of its size. */
    function canvasOf(picture, canvas = make("canvas")) {
        [canvas.width, canvas.height] = [picture.width, picture.height];
        canvas.getContext("2d").putImageData(toImageData(picture), 0, 0);
        return canvas;
    }

    /**
     * Follow a finger or the mouse over an element. Places are in 0..1 of it.
     * press(at, box): whether that took hold of something; only then it is followed beyond the element's edges.
     */
    function follow(element, {press, drag, drop}) {
        const where = (event, box) => [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
        element.addEventListener("pointerdown", (event) => {
            const box = element.getBoundingClientRect();
            const held = press(where(event, box), box);
            element.focus({preventScroll: true});
            if (!held) return;
            element.setPointerCapture(event.pointerId);
            event.preventDefault();
        });
        element.addEventListener("pointermove", (event) => drag(where(event, element.getBoundingClientRect())));
        element.addEventListener("pointerup", drop);
        element.addEventListener("pointercancel", drop);
    }

    class LightCanvas {
        constructor(attributes) {
            this.element = make("canvas", attributes);
            this.frame = [1, 1];
            this.covers = {}; // pictures at the canvas's size
            this.small = make("canvas");
        }

        /**
         * frame: [width, height] of the picture to be made. lightMap(width, height): the picture of the light, null for
         * none. sketch(size): the picture under the light as a canvas, and whether it is opaque, or null to show the light
         * itself. lights, chosen: whose handles are shown, and the chosen one's index. map, blur: an image in the place
         * of the lights, and how much of it is smoothed away. picture: an image that is lit. moving: paint quickly.
         */
        paint({frame, lightMap, sketch, lights, chosen, map, blur, picture, moving}) {
            this.frame = frame;
            const [width, height] = frame, most = Math.max(width, height);
            const size = (longer) => [Math.max(2, Math.round(width / most * longer)),
                Math.max(2, Math.round(height / most * longer))];
            const [w, h] = size(REST_SIDE), canvas = this.element;
            if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
            const context = canvas.getContext("2d");
            const sketched = sketch?.([w, h]);
            const lit = sketched?.opaque ? null : lightMap(...size(moving ? DRAG_SIDE : REST_SIDE));
            context.fillStyle = "#777";
            context.fillRect(0, 0, w, h);
            if (lit) context.drawImage(canvasOf(lit, this.small), 0, 0, w, h);
            if (sketched) context.drawImage(sketched.canvas, 0, 0, w, h);
            if (map) {
                const shown = blur ? this.covering("light", map, size(BLUR_SIDE), blur)
                    : this.covering("map", map, [w, h]);
                context.drawImage(shown, 0, 0, w, h);
            }
            if (picture && !sketched) {
                context.globalAlpha = PICTURE_SHARE;
                context.drawImage(this.covering("picture", picture, [w, h]), 0, 0);
                context.globalAlpha = 1;
            }
            if (map) return;
            lights.forEach((light, index) => this.paintHandles(context, light, index === chosen));
        }

        /**
         * An image scaled to cover a size, its middle in the middle, as the server fits pictures; with `blur` its light
         * alone. Kept under `name` until it is another, for scaling a photo takes longer than a frame.
         */
        covering(name, image, [w, h], blur = 0) {
            const kept = this.covers[name];
            if (kept?.source === image.src && kept.width === w && kept.height === h && kept.blur === blur) {
                return kept.canvas;
            }
            const canvas = make("canvas", {width: w, height: h}), context = canvas.getContext("2d");
            const scale = Math.max(w / image.naturalWidth, h / image.naturalHeight);
            const [pw, ph] = [image.naturalWidth * scale, image.naturalHeight * scale];
            context.imageSmoothingQuality = "high";
            context.drawImage(image, (w - pw) / 2, (h - ph) / 2, pw, ph);
            if (blur) context.putImageData(toImageData(broadLight(context.getImageData(0, 0, w, h), blur)), 0, 0);
            this.covers[name] = {source: image.src, width: w, height: h, blur, canvas};
            return canvas;
        }

        paintHandles(context, light, chosen) {
            const {width: w, height: h} = this.element;
            const {move: [x, y], size} = handles(light, this.frame);
            const pixel = w / (this.element.clientWidth || w); // of the screen, in ours
            const radius = (chosen ? HANDLE.chosen : HANDLE.other) * pixel, half = HANDLE.size * pixel;
            const line = (path, dark = "rgba(0,0,0,.75)", bright = "#fff") => {
                for (const [style, thickness] of [[dark, 2.8], [bright, 1.1]]) {
                    context.beginPath();
                    path();
                    context.strokeStyle = style;
                    context.lineWidth = thickness * pixel;
                    context.stroke();
                }
            };
            if (light.kind === "directional") {
                line(() => {
                    context.moveTo(x * w, y * h);
                    context.lineTo(w / 2 + (x * w - w / 2) * 0.55, h / 2 + (y * h - h / 2) * 0.55);
                });
            } else if (chosen) {
                const reach = (light.radius ?? 0.5) * Math.min(w, h);
                line(() => context.arc(light.x * w, light.y * h, reach, 0, 7), "rgba(0,0,0,.4)",
                    "rgba(255,255,255,.7)");
                context.fillStyle = "#fff";
                context.strokeStyle = "#000";
                context.lineWidth = 1.4 * pixel;
                context.beginPath();
                context.rect(size[0] * w - half, size[1] * h - half, 2 * half, 2 * half);
                context.fill();
                context.stroke();
            }
            context.beginPath();
            context.arc(x * w, y * h, radius, 0, 7);
            context.fillStyle = cssColor(light.color || "#ffffff");
            context.fill();
            line(() => context.arc(x * w, y * h, radius, 0, 7), "#000", chosen ? "#ffb74d" : "#fff");
        }
    }

    /** Whether the processor does what WebGL asks of a graphics card. gl: a WebGL context. */
    function bySoftware(gl) {
        const names = gl.getExtension("WEBGL_debug_renderer_info");
        return SOFTWARE.test(gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
    }

    iclight.canvas = {LightCanvas, canvasOf, follow, bySoftware};
})();
