// The light editor: preset tiles, and a canvas on which lights are dragged. It keeps no light of its own: what is shown
// is the value of the panel's "Light" widget, and every change is written there (see panel.py, `light_bridge`).

(function() {
    "use strict";

    const iclight = window.iclight = window.iclight || {};
    const {MIN_KELVIN, MAX_KELVIN, cssColor, draw, broadLight, map, parse, format, clamp} = iclight.lights;

    const TILE = [48, 60]; // pixels of a preset's thumbnail
    const DRAG_SIDE = 128; // the light map's longer side while something is dragged
    const REST_SIDE = 512; // and at rest
    const BLUR_SIDE = 96; // of a reference picture of which only the light is shown
    const RING = 0.42; // how far from the middle a side light's handle lies
    const ECHO = 1500; // milliseconds in which the page may still be telling us of an older light
    const GRAB = 22; // how near, in screen pixels, a press takes a handle
    const PREVIEW_SIDE = 1024; // longest side of what is sent for a preview
    const NEW = {
        directional: {kind: "directional", angle: 135, color: "#ffffff", intensity: 1},
        point: {kind: "point", x: 0.3, y: 0.3, radius: 0.6, color: "#ffffff", intensity: 1},
    };

    const round = (value, digits) => Number(value.toFixed(digits));
    const modulo = (value, by) => ((value % by) + by) % by;
    const kelvinOf = (share) => Math.round(MIN_KELVIN * Math.pow(MAX_KELVIN / MIN_KELVIN, share) / 10) * 10;
    const shareOf = (kelvin) => Math.log(kelvin / MIN_KELVIN) / Math.log(MAX_KELVIN / MIN_KELVIN);

    /** An element with attributes (functions are listeners) and children. */
    function make(tag, attributes = {}, ...children) {
        const element = document.createElement(tag);
        for (const [name, value] of Object.entries(attributes)) {
            if (typeof value === "function") element.addEventListener(name, value);
            else if (value !== false) element.setAttribute(name, value === true ? "" : value);
        }
        element.append(...children);
        return element;
    }

    class Editor {
        constructor(data) {
            this.tab = data.tab;
            this.presets = data.presets;
            this.labels = data.labels;
            this.texts = data.texts;
            this.prompts = data.prompts;
            this.referenceBlur = data.referenceBlur;
            this.light = "none";
            this.spec = parse("none", this.presets);
            this.chosen = 0;
            this.history = ["none"];
            this.at = 0;
            this.written = -Infinity;
            this.covers = {}; // pictures at the canvas's size
        }

        // Reading and writing the light -----------------------------------------------------------------------------

        /** The light widget changed. What differs soon after a write of ours may be an older one's echo: look again. */
        heed(light) {
            if (light === this.light) return;
            const left = this.written + ECHO - performance.now();
            if (left <= 0) return this.show(light);
            clearTimeout(this.looking);
            this.looking = setTimeout(() => this.show(widgetValue(this.tab)), left);
        }

        /** Show a light that came from elsewhere: a paste, the dropdown, the host. */
        show(light) {
            if (light === this.light) return;
            try {
                this.spec = parse(light, this.presets);
                this.message.textContent = "";
            } catch (error) {
                this.message.textContent = this.texts.bad;
                return;
            }
            this.light = light;
            this.remember(light);
            this.chosen = clamp(this.chosen, 0, Math.max(0, this.spec.lights.length - 1));
            this.refresh();
        }

        /** Make the light what was edited, and write it into the panel. */
        commit(light = format(this.spec)) {
            this.spec = parse(light, this.presets);
            this.chosen = clamp(this.chosen, 0, Math.max(0, this.spec.lights.length - 1));
            if (light !== this.light) {
                this.light = light;
                this.remember(light);
                this.write();
            }
            this.refresh();
        }

        write() {
            this.written = performance.now();
            document.querySelector(`#iclight_${this.tab}_light_bridge`)?.click();
        }

        remember(light) {
            if (light === this.history[this.at]) return;
            this.history = [...this.history.slice(0, this.at + 1), light].slice(-200);
            this.at = this.history.length - 1;
        }

        travel(by) {
            if (!(this.at + by in this.history)) return;
            this.at += by;
            this.light = this.history[this.at];
            this.spec = parse(this.light, this.presets);
            this.chosen = clamp(this.chosen, 0, Math.max(0, this.spec.lights.length - 1));
            this.write();
            this.refresh();
        }

        // The elements ----------------------------------------------------------------------------------------------

        build(root) {
            const texts = this.texts;
            const button = (name, run) => make("button", {type: "button", class: "iclight-button", click: run,
                "data-do": name}, texts[name]);
            this.tiles = make("div", {class: "iclight-tiles", role: "group", "aria-label": texts.presets},
                ...Object.keys(this.presets).map((name) => this.tile(name)));
            this.canvas = make("canvas", {
                class: "iclight-canvas", tabindex: "0", role: "application", "aria-label": texts.canvas,
                pointerdown: (event) => this.press(event), pointermove: (event) => this.drag(event),
                pointerup: (event) => this.drop(event), pointercancel: (event) => this.drop(event),
                keydown: (event) => this.key(event),
            });
            this.undo = button("undo", () => this.travel(-1));
            this.redo = button("redo", () => this.travel(1));
            this.copy = button("copy", () => this.duplicate());
            this.remove = button("remove", () => this.removeChosen());
            const tools = make("div", {class: "iclight-tools"},
                button("addDirectional", () => this.add(NEW.directional)),
                button("addPoint", () => this.add(NEW.point)), this.copy, this.remove, this.undo, this.redo);
            this.fields = make("div", {class: "iclight-fields"});
            this.withPicture = make("input", {type: "checkbox", change: () => this.refresh()});
            this.withPicture.checked = true;
            this.message = make("p", {class: "iclight-message", role: "status"});
            const check = make("label", {class: "iclight-check"}, this.withPicture, make("span", {}, texts.picture));
            this.takeLight = button("takeLight", () => setMapBlur(this.tab, this.referenceBlur));
            const side = make("div", {class: "iclight-side"}, tools, this.fields, check, this.message,
                make("div", {class: "iclight-tools"}, this.takeLight));
            const words = make("div", {class: "iclight-words"},
                ...Object.keys(this.prompts).map((kind) => this.quickPrompts(kind)));
            root.replaceChildren(this.tiles, make("div", {class: "iclight-stage"}, this.canvas, side), words);
            this.refresh();
        }

        tile(name) {
            const [width, height] = TILE;
            const canvas = make("canvas", {width, height, "aria-hidden": "true"});
            const image = map(name, this.presets, width, height);
            if (image) canvas.getContext("2d").putImageData(image, 0, 0);
            return make("button", {type: "button", class: "iclight-tile", "data-light": name,
                click: () => this.commit(name)}, canvas, make("span", {}, this.labels[name]));
        }

        /** Words to put at the end of the prompt: a list that shows its title again once one is chosen. */
        quickPrompts(kind) {
            const title = this.texts[kind];
            const list = make("select", {"aria-label": title, "data-words": kind, change: () => {
                appendPrompt(this.tab, list.value);
                list.value = "";
            }}, make("option", {value: ""}, title), ...this.prompts[kind].map((words) => make("option", {}, words)));
            return list;
        }

        /** Everything that depends on the light, drawn anew. */
        refresh() {
            for (const tile of this.tiles.children) {
                tile.setAttribute("aria-pressed", String(tile.dataset.light === this.light));
            }
            this.undo.disabled = this.at === 0;
            this.redo.disabled = this.at === this.history.length - 1;
            this.copy.disabled = this.remove.disabled = !this.spec.lights.length;
            this.message.textContent = mapPictureOf(this.tab) ? this.texts.map
                : this.light === "none" ? this.texts.empty : "";
            this.takeLight.hidden = !mapPictureOf(this.tab) || mapBlurOf(this.tab) > 0;
            this.fillFields();
            this.paint(REST_SIDE);
        }

        /** The inputs for the chosen light; made anew only when there are other ones than before. */
        fillFields() {
            const light = this.spec.lights[this.chosen];
            const shape = JSON.stringify([light?.kind, this.spec.lights.map((one) => one.kind), this.chosen,
                /K$/i.test(light?.color || "")]);
            if (shape !== this.shape) {
                this.shape = shape;
                this.inputs = [];
                this.fields.replaceChildren(...this.fieldRows(light));
            }
            for (const fill of this.inputs) fill();
        }

        fieldRows(light) {
            const texts = this.texts;
            const rows = [];
            const row = (label, ...inputs) => rows.push(make("label", {class: "iclight-row"},
                make("span", {}, label), ...inputs));
            /** A slider on a number of the chosen light; `read` and `write` turn it into the slider's and back. */
            const slider = (name, label, low, high, step, read = (v) => v, write = (v) => v) => {
                const shown = make("output", {});
                const input = make("input", {type: "range", min: low, max: high, step, "data-field": name,
                    input: () => {
                        this.spec.lights[this.chosen][name] = write(Number(input.value));
                        fill();
                        this.live();
                    }, change: () => this.commit()});
                const fill = () => {
                    const value = this.spec.lights[this.chosen][name];
                    input.value = read(value);
                    shown.textContent = typeof value === "number" ? String(round(value, 2)) : value;
                };
                this.inputs.push(fill);
                row(label, input, shown);
            };
            const picker = (label, name, read, write) => {
                const input = make("input", {type: "color", "data-field": name,
                    input: () => { write(input.value); this.live(); }, change: () => this.commit()});
                this.inputs.push(() => { input.value = cssColor(read()); });
                row(label, input);
            };
            if (light) {
                const choose = make("select", {"data-field": "chosen",
                    change: () => { this.chosen = Number(choose.value); this.refresh(); }},
                ...this.spec.lights.map((one, i) => make("option", {value: i}, `${i + 1} · ${texts[one.kind]}`)));
                this.inputs.push(() => { choose.value = this.chosen; });
                row(texts.lights, choose);
                const warm = /K$/i.test(light.color || "");
                const kind = make("select", {"data-field": "colouring", change: () => {
                    const one = this.spec.lights[this.chosen];
                    one.color = kind.value === "temperature" ? "5000K" : cssColor(one.color || "#ffffff");
                    this.commit();
                }}, ...["color", "temperature"].map((one) => make("option", {value: one}, texts[one])));
                kind.value = warm ? "temperature" : "color";
                row(texts.coloring, kind);
                if (warm) {
                    slider("color", texts.temperature, 0, 1, 0.005, (text) => shareOf(parseFloat(text)),
                        (share) => `${kelvinOf(share)}K`);
                } else {
                    picker(texts.color, "color", () => this.spec.lights[this.chosen].color || "#ffffff",
                        (value) => { this.spec.lights[this.chosen].color = value; });
                }
                slider("intensity", texts.intensity, 0, 3, 0.05, (v) => v ?? 1);
                if (light.kind === "directional") slider("angle", texts.angle, 0, 359, 1, (v) => modulo(v, 360));
                else slider("radius", texts.size, 0.05, 3, 0.05, (v) => v ?? 0.5);
            }
            picker(texts.ambient, "ambient", () => this.spec.ambient, (value) => { this.spec.ambient = value; });
            return rows;
        }

        // Editing ---------------------------------------------------------------------------------------------------

        add(light) {
            this.spec.lights.push({...light});
            this.chosen = this.spec.lights.length - 1;
            this.commit();
        }

        duplicate() {
            const copy = {...this.spec.lights[this.chosen]};
            if (copy.kind === "point") copy.x = round(clamp(copy.x + 0.1, -1, 2), 3);
            else copy.angle = round(modulo(copy.angle + 30, 360), 1);
            this.add(copy);
        }

        removeChosen() {
            if (!this.spec.lights.length) return;
            this.spec.lights.splice(this.chosen, 1);
            this.commit();
        }

        /** Where a light's handles lie, in 0..1 of the picture: its own, and for lamps the edge of its size. */
        handles(light) {
            if (light.kind === "directional") {
                const angle = light.angle * Math.PI / 180;
                return {move: [0.5 + RING * Math.cos(angle), 0.5 - RING * Math.sin(angle)]};
            }
            const shorter = Math.min(this.frame[0], this.frame[1]);
            const reach = (light.radius ?? 0.5) * shorter / this.frame[0];
            const at = [clamp(light.x, 0.03, 0.97), clamp(light.y, 0.03, 0.97)]; // whole, also of a lamp at the edge
            const edge = at[0] + reach <= 1 ? at[0] + reach : at[0] - reach;
            return {move: at, size: [clamp(edge, 0.02, 0.98), at[1]]};
        }

        where(event) {
            const box = this.canvas.getBoundingClientRect();
            return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
        }

        press(event) {
            const at = this.where(event), box = this.canvas.getBoundingClientRect();
            let nearest = GRAB;
            this.held = null;
            this.spec.lights.forEach((light, index) => {
                for (const [what, [x, y]] of Object.entries(this.handles(light))) {
                    const distance = Math.hypot((x - at[0]) * box.width, (y - at[1]) * box.height);
                    if (distance < nearest && (what === "move" || index === this.chosen)) {
                        nearest = distance;
                        this.held = {what, index};
                    }
                }
            });
            this.canvas.focus({preventScroll: true});
            if (!this.held) return;
            this.chosen = this.held.index;
            this.canvas.setPointerCapture(event.pointerId);
            event.preventDefault();
            this.fillFields();
            this.paint(REST_SIDE);
        }

        drag(event) {
            if (!this.held) return;
            const [x, y] = this.where(event), light = this.spec.lights[this.chosen];
            if (this.held.what === "size") {
                const across = Math.abs(x - clamp(light.x, 0, 1)) * this.frame[0] / Math.min(...this.frame);
                light.radius = round(clamp(across, 0.05, 3), 2);
            } else if (light.kind === "point") {
                light.x = round(clamp(x, 0, 1), 3);
                light.y = round(clamp(y, 0, 1), 3);
            } else {
                light.angle = round(modulo(Math.atan2(0.5 - y, x - 0.5) * 180 / Math.PI, 360), 1);
            }
            this.moved = true;
            this.live();
        }

        drop() {
            if (this.held && this.moved) this.commit();
            this.held = null;
            this.moved = false;
        }

        key(event) {
            const light = this.spec.lights[this.chosen];
            const step = event.shiftKey ? 10 : 1;
            const [dx, dy] = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key]
                || [0, 0];
            const combined = event.ctrlKey || event.metaKey;
            if (combined && event.key.toLowerCase() === "z") this.travel(event.shiftKey ? 1 : -1);
            else if (combined && event.key.toLowerCase() === "y") this.travel(1);
            else if (combined || !light) return;
            else if (event.key === "Delete" || event.key === "Backspace") this.removeChosen();
            else if (event.key === "PageUp" || event.key === "PageDown") {
                this.chosen = modulo(this.chosen + (event.key === "PageUp" ? -1 : 1), this.spec.lights.length);
                this.refresh();
            } else if (dx || dy) {
                if (light.kind === "point") {
                    light.x = round(clamp(light.x + 0.01 * step * dx, -1, 2), 3);
                    light.y = round(clamp(light.y + 0.01 * step * dy, -1, 2), 3);
                } else {
                    light.angle = round(modulo(light.angle - step * (dx + dy), 360), 1);
                }
                this.commit();
            } else return;
            event.preventDefault();
            event.stopPropagation();
        }

        // Painting --------------------------------------------------------------------------------------------------

        /** Paint soon, small: something is being moved. */
        live() {
            if (this.waiting) return;
            this.waiting = requestAnimationFrame(() => {
                this.waiting = 0;
                for (const fill of this.inputs) fill();
                this.paint(DRAG_SIDE);
            });
        }

        paint(side) {
            this.frame = frameOf(this.tab);
            const [width, height] = this.frame, most = Math.max(width, height);
            const size = (longer) => [Math.max(2, Math.round(width / most * longer)),
                Math.max(2, Math.round(height / most * longer))];
            const [w, h] = size(REST_SIDE);
            if (this.canvas.width !== w || this.canvas.height !== h) [this.canvas.width, this.canvas.height] = [w, h];
            const context = this.canvas.getContext("2d");
            const named = side === REST_SIDE && this.light === "ambient";
            const [mw, mh] = size(side);
            const image = this.spec.lights.length || this.light !== "none" || format(this.spec) !== "none"
                ? (named ? map("ambient", this.presets, mw, mh) : draw(this.spec, mw, mh)) : null;
            context.fillStyle = "#777";
            context.fillRect(0, 0, w, h);
            if (image) {
                this.buffer = this.buffer || document.createElement("canvas");
                [this.buffer.width, this.buffer.height] = [mw, mh];
                this.buffer.getContext("2d").putImageData(image, 0, 0);
                context.drawImage(this.buffer, 0, 0, w, h);
            }
            const mapPicture = mapPictureOf(this.tab);
            const picture = this.withPicture.checked && foregroundOf(this.tab);
            if (mapPicture) {
                const blur = mapBlurOf(this.tab);
                const shown = blur ? this.covering("light", mapPicture, size(BLUR_SIDE), blur)
                    : this.covering("map", mapPicture, [w, h]);
                context.drawImage(shown, 0, 0, w, h);
            }
            if (picture) {
                context.globalAlpha = 0.35;
                context.drawImage(this.covering("picture", picture, [w, h]), 0, 0);
                context.globalAlpha = 1;
            }
            if (mapPicture) return;
            this.spec.lights.forEach((light, index) => this.paintHandles(context, light, index === this.chosen));
        }

        /**
         * A picture scaled to cover a size, its middle in the middle, as the server fits pictures; with `blur` its
         * light alone. Kept under `name` until it is another, for scaling a photo takes longer than a frame.
         */
        covering(name, picture, [w, h], blur = 0) {
            const kept = this.covers[name];
            if (kept?.source === picture.src && kept.width === w && kept.height === h && kept.blur === blur) {
                return kept.canvas;
            }
            const canvas = make("canvas", {width: w, height: h}), context = canvas.getContext("2d");
            const scale = Math.max(w / picture.naturalWidth, h / picture.naturalHeight);
            const [pw, ph] = [picture.naturalWidth * scale, picture.naturalHeight * scale];
            context.imageSmoothingQuality = "high";
            context.drawImage(picture, (w - pw) / 2, (h - ph) / 2, pw, ph);
            if (blur) context.putImageData(broadLight(context.getImageData(0, 0, w, h), blur), 0, 0);
            this.covers[name] = {source: picture.src, width: w, height: h, blur, canvas};
            return canvas;
        }

        paintHandles(context, light, chosen) {
            const {width: w, height: h} = this.canvas;
            const {move: [x, y], size} = this.handles(light);
            const line = (path, dark = "rgba(0,0,0,.75)", bright = "#fff") => {
                for (const [style, thickness] of [[dark, 4], [bright, 1.5]]) {
                    context.beginPath();
                    path();
                    context.strokeStyle = style;
                    context.lineWidth = thickness;
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
                context.lineWidth = 2;
                context.beginPath();
                context.rect(size[0] * w - 7, size[1] * h - 7, 14, 14);
                context.fill();
                context.stroke();
            }
            context.beginPath();
            context.arc(x * w, y * h, chosen ? 15 : 11, 0, 7);
            context.fillStyle = cssColor(light.color || "#ffffff");
            context.fill();
            line(() => context.arc(x * w, y * h, chosen ? 15 : 11, 0, 7), "#000", chosen ? "#ffb74d" : "#fff");
        }
    }

    const widgetValue = (tab) => document.querySelector(`#iclight_${tab}_light input`)?.value || "none";

    /** Width and height of the picture to be made, as the host's sliders say. */
    function frameOf(tab) {
        const side = (name) => Number(document.querySelector(`#${tab}_${name} input[type=number]`)?.value) || 512;
        return [side("width"), side("height")];
    }

    /** Put words at the end of the tab's prompt, unless it says so already. */
    function appendPrompt(tab, words) {
        const prompt = document.querySelector(`#${tab}_prompt textarea`);
        if (!words || !prompt || prompt.value.includes(words)) return;
        const before = prompt.value.trimEnd().replace(/,+$/, "");
        type(prompt, before ? `${before}, ${words}` : words);
    }

    /** Let an input have a value as if it were typed. */
    function type(input, value) {
        input.value = value;
        input.dispatchEvent(new Event("input", {bubbles: true}));
    }

    /** The foreground as it is on the page: the panel's, or in img2img the tab's picture. */
    function foregroundOf(tab) {
        return loaded(`#iclight_${tab}_foreground img`) || (tab === "img2img" ? imageOfImg2img() : null);
    }

    const loaded = (selector) => {
        const image = document.querySelector(selector);
        return image?.complete && image.naturalWidth ? image : null;
    };

    /** The light map that a person dropped into the panel. */
    const mapPictureOf = (tab) => loaded(`#iclight_${tab}_light_map img`);

    const mapBlurInput = (tab) => document.querySelector(`#iclight_${tab}_light_map_blur input[type=number]`);

    /** How much of it is smoothed away. */
    const mapBlurOf = (tab) => Number(mapBlurInput(tab)?.value) || 0;
    const setMapBlur = (tab, blur) => type(mapBlurInput(tab), blur);

    /** The picture in that of the img2img tab's own tabs (img2img, sketch, inpaint ...) which is open, or null. */
    function imageOfImg2img() {
        const isOpen = (id) => document.getElementById(id)?.closest(".tabitem")?.style.display !== "none";
        const open = ["img2img_image", "img2img_sketch", "img2maskimg", "inpaint_sketch", "img_inpaint_base"]
            .find((id) => document.getElementById(id) && isOpen(id));
        return open ? loaded(`#${open} img`) : null;
    }

    /** The img2img tab's picture as a data URI, its longer side at most `most` pixels; "" when there is none. */
    function img2imgPicture(most = Infinity) {
        const image = imageOfImg2img();
        if (!image) return "";
        const {naturalWidth: width, naturalHeight: height} = image;
        const scale = Math.min(1, most / Math.max(width, height));
        const canvas = make("canvas", {width: Math.round(width * scale), height: Math.round(height * scale)});
        canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
        return canvas.toDataURL("image/png");
    }

    /** The img2img tab's picture for the panel's preview, as JSON; see panel.py, `_handed_over`. */
    function tabPicture() {
        const image = imageOfImg2img();
        return image ? JSON.stringify({width: image.naturalWidth, height: image.naturalHeight,
            picture: img2imgPicture(PREVIEW_SIDE)}) : "";
    }

    const editors = {};

    /** Bring an editor to life in its element, also after the page was drawn anew. */
    function mount(root) {
        if (root.firstChild) return;
        const data = JSON.parse(root.dataset.iclight);
        const editor = editors[data.tab] = editors[data.tab] || new Editor(data);
        editor.build(root);
        editor.show(widgetValue(data.tab));
    }

    iclight.editor = {
        editors, mount, make, foregroundOf, mapPictureOf, mapBlurOf, imageOfImg2img, img2imgPicture, tabPicture,
        /** The light widget changed: `light` is its value. */
        show: (tab, light) => editors[tab]?.heed(typeof light === "string" ? light : JSON.stringify(light)),
        /** What the editor of the tab has for the light widget. */
        take: (tab) => editors[tab].light,
    };
})();
