// The light editor: preset tiles, and a canvas on which lights are dragged. It keeps no light of its own: what is shown
// is the value of the panel's "Light" widget, and every change is written there (see panel.py, `light_bridge`).

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {draw, map, parse, format, isNone, clamp} = iclight.lights;
    const {NEW, modulo, nearest, dragged, moved, copied, command, History} = iclight.lamps;
    const {LightCanvas, canvasOf, follow} = iclight.canvas;
    const {Preview, Views} = iclight.preview;
    const {Fields} = iclight.fields;
    const page = iclight.page;
    const {make} = page;

    const TILE = [48, 60]; // pixels of a preset's thumbnail
    const ECHO = 1500; // milliseconds in which the page may still be telling us of an older light

    class Editor {
        constructor(data) {
            this.tab = data.tab;
            this.presets = data.presets;
            this.labels = data.labels;
            this.texts = data.texts;
            this.prompts = data.prompts;
            this.referenceBlur = data.referenceBlur;
            this.fromBackground = data.fromBackground; // the light that is looked up in the background
            this.light = "none"; // its name, or its spec as JSON
            this.spec = parse(this.light, this.presets); // the same as an object; ahead of it while something is moved
            this.chosen = 0; // index of the light that fields, keys and buttons are about
            this.history = new History(this.light);
            this.preview = new Preview();
            this.views = new Views(this.tab, () => this.refresh());
            this.written = -Infinity; // when the light was last written into the panel
        }

        // Reading and writing the light -----------------------------------------------------------------------------

        /** The one way to another light. spec: what it stands for. ours: it is of the editor's making, so write it. */
        adopt(light, spec, {ours}) {
            this.spec = spec;
            this.chosen = clamp(this.chosen, 0, Math.max(0, this.spec.lights.length - 1));
            if (light !== this.light) {
                this.light = light;
                this.history.add(light);
                if (ours) this.write();
            }
            this.refresh();
        }

        /** What a light stands for; of the background's it is what the server has found in it. */
        specOf(light) {
            return parse(light === this.fromBackground ? page.foundLight(this.tab) : light, this.presets);
        }

        write() {
            this.written = performance.now();
            page.sendLight(this.tab);
        }

        /** The light widget changed. What differs soon after a write of ours may be an older one's echo: look again. */
        heed(light) {
            if (light === this.light) return;
            const left = this.written + ECHO - performance.now();
            if (left <= 0) return this.show(light);
            clearTimeout(this.looking);
            this.looking = setTimeout(() => this.show(page.light(this.tab)), left);
        }

        /** Show a light that came from elsewhere: a paste, the dropdown, the host. */
        show(light) {
            if (light === this.light) return;
            let spec;
            try {
                spec = this.specOf(light);
            } catch {
                this.message.textContent = this.texts.bad;
                return;
            }
            this.adopt(light, spec, {ours: false});
        }

        /** Make the light what was edited. */
        commit(light = format(this.spec)) {
            this.adopt(light, this.specOf(light), {ours: true});
        }

        travel(by) {
            const light = this.history.travel(by);
            if (light !== undefined) this.commit(light);
        }

        // The elements ----------------------------------------------------------------------------------------------

        build(root) {
            const texts = this.texts;
            const button = (name, run) => make("button", {type: "button", class: "iclight-button", click: run,
                "data-do": name}, texts[name]);
            this.tiles = make("div", {class: "iclight-tiles", role: "group", "aria-label": texts.presets},
                ...Object.keys(this.presets).map((name) => this.tile(name)));
            this.canvas = new LightCanvas({class: "iclight-canvas", tabindex: "0", role: "application",
                "aria-label": texts.canvas, keydown: (event) => this.key(event)});
            follow(this.canvas.element, {press: (at, box) => this.press(at, box), drag: (at) => this.drag(at),
                drop: () => this.drop()});
            this.undo = button("undo", () => this.travel(-1));
            this.redo = button("redo", () => this.travel(1));
            this.copy = button("copy", () => this.add(copied(this.spec.lights[this.chosen])));
            this.remove = button("remove", () => this.removeChosen());
            const tools = make("div", {class: "iclight-tools"},
                button("addDirectional", () => this.add({...NEW.directional})),
                button("addPoint", () => this.add({...NEW.point})), this.copy, this.remove, this.undo, this.redo,
                button("fromBackground", () => this.commit(this.fromBackground)));
            this.fields = new Fields(this);
            this.withPicture = make("input", {type: "checkbox", change: () => this.refresh()});
            this.withPicture.checked = true;
            this.message = make("p", {class: "iclight-message", role: "status"});
            this.check = make("label", {class: "iclight-check"}, this.withPicture, make("span", {}, texts.picture));
            this.takeLight = button("takeLight", () => page.setMapBlur(this.tab, this.referenceBlur));
            const side = make("div", {class: "iclight-side"}, tools, this.fields.element, this.check, this.message,
                make("div", {class: "iclight-tools"}, this.takeLight));
            const words = make("div", {class: "iclight-words"},
                ...Object.keys(this.prompts).map((kind) => this.quickPrompts(kind)),
                make("div", {class: "iclight-tools"}, button("desk", () => iclight.desks.open(this.tab))));
            this.views.build(texts);
            const shown = make("div", {class: "iclight-shown"}, this.views.element, this.canvas.element,
                this.views.caption);
            root.replaceChildren(this.tiles, make("div", {class: "iclight-stage"}, shown, side), words);
            this.refresh();
        }

        tile(name) {
            const picture = map(name, this.presets, ...TILE);
            const canvas = picture ? canvasOf(picture) : make("canvas", {width: TILE[0], height: TILE[1]});
            canvas.setAttribute("aria-hidden", "true");
            return make("button", {type: "button", class: "iclight-tile", "data-light": name,
                click: () => this.commit(name)}, canvas, make("span", {}, this.labels[name]));
        }

        /** Words to put at the end of the prompt: a list that shows its title again once one is chosen. */
        quickPrompts(kind) {
            const title = this.texts[kind];
            const list = make("select", {"aria-label": title, "data-words": kind, change: () => {
                page.appendPrompt(this.tab, list.value);
                list.value = "";
            }}, make("option", {value: ""}, title), ...this.prompts[kind].map((words) => make("option", {}, words)));
            return list;
        }

        /** Everything that depends on the light, drawn anew. */
        refresh() {
            if (this.light === this.fromBackground && !this.held) this.spec = this.specOf(this.light);
            this.views.refresh();
            this.check.hidden = this.views.sketches;
            for (const tile of this.tiles.children) {
                tile.setAttribute("aria-pressed", String(tile.dataset.light === this.light));
            }
            this.undo.disabled = this.history.isFirst;
            this.redo.disabled = this.history.isLast;
            this.copy.disabled = this.remove.disabled = !this.spec.lights.length;
            const dropped = page.mapPicture(this.tab);
            this.message.textContent = this.texts[this.notice(dropped)] || "";
            this.takeLight.hidden = !dropped || page.mapBlur(this.tab) > 0;
            this.fields.update();
            this.paint();
        }

        /** The name of what there is to say. */
        notice(dropped) {
            if (dropped) return "map";
            if (this.light === "none") return "empty";
            return this.light === this.fromBackground && !page.foundLight(this.tab) ? "needsBackground" : "";
        }

        paint({moving = false} = {}) {
            const {tab, spec} = this, {sketches} = this.views;
            this.canvas.paint({
                moving, frame: page.frame(tab), lights: spec.lights, chosen: this.chosen,
                lightMap: (width, height) => this.lightMap(width, height, moving),
                sketch: sketches ? (size) => this.preview.draw({
                    size, moving, subject: page.subject(tab), photo: page.foreground(tab),
                    background: page.background(tab), flipped: page.isFlipped(tab), spec: isNone(spec) ? null : spec,
                }) : null,
                map: page.mapPicture(tab), blur: page.mapBlur(tab),
                picture: this.withPicture.checked && page.foreground(tab),
            });
        }

        lightMap(width, height, moving) {
            if (isNone(this.spec)) return null;
            // At rest as the reference draws it; its name stands until what is being moved is let go.
            if (this.light === "ambient" && !moving) return map(this.light, this.presets, width, height);
            return draw(this.spec, width, height);
        }

        /** Paint soon and quickly: something is being moved. */
        live() {
            this.waiting = this.waiting || requestAnimationFrame(() => {
                this.waiting = 0;
                this.fields.fill();
                this.paint({moving: true});
            });
        }

        // Editing ---------------------------------------------------------------------------------------------------

        add(light) {
            this.spec.lights.push(light);
            this.chosen = this.spec.lights.length - 1;
            this.commit();
        }

        removeChosen() {
            if (!this.spec.lights.length) return;
            this.spec.lights.splice(this.chosen, 1);
            this.commit();
        }

        /** Whether there was a handle to take hold of. */
        press(at, box) {
            this.held = nearest(this.spec.lights, this.chosen, at, this.canvas.frame, box);
            if (!this.held) return false;
            this.chosen = this.held.index;
            this.fields.update();
            this.paint();
            return true;
        }

        drag(at) {
            if (!this.held) return;
            const light = this.spec.lights[this.chosen];
            Object.assign(light, dragged(light, this.held.what, at, this.canvas.frame));
            this.moved = true;
            this.live();
        }

        drop() {
            if (this.held && this.moved) this.commit();
            this.held = null;
            this.moved = false;
        }

        key(event) {
            const asked = command(event), {lights} = this.spec, light = lights[this.chosen];
            if (!asked || !(asked.travel || light)) return;
            if (asked.travel) this.travel(asked.travel);
            else if (asked.remove) this.removeChosen();
            else if (asked.choose) {
                this.chosen = modulo(this.chosen + asked.choose, lights.length);
                this.refresh();
            } else {
                Object.assign(light, moved(light, asked.move));
                this.commit();
            }
            event.preventDefault();
            event.stopPropagation();
        }
    }

    const editors = {};

    /** Bring an editor to life in its element, also after the page was drawn anew. */
    function mount(root) {
        if (root.firstChild) return;
        const data = JSON.parse(root.dataset.iclight);
        const editor = editors[data.tab] = editors[data.tab] || new Editor(data);
        editor.build(root);
        editor.show(page.light(data.tab));
    }

    // panel.py calls these by name.
    iclight.editor = {
        editors, mount,
        /** The light widget changed: `light` is its value. */
        show: (tab, light) => editors[tab]?.heed(typeof light === "string" ? light : JSON.stringify(light)),
        /** What the editor of the tab has for the light widget. */
        take: (tab) => editors[tab].light,
    };
})();
