// The light desk: a set of pictures, one for each light, mixed in real time. The same code serves a WebUI's page, the
// studio and the single file that `desk` writes (lib_iclight/stage/desk.py).
//
//     const desk = window.iclight.desk.mount(element, {
//         pictures: [{name: "left", light: "left", url}, {name: "lamp 2", direction: [0.3, 0.5, 0.8], url}, ...],
//         alpha: url of the subject's mask, or null,
//         presets: {name: light spec, ...}, labels: {name: label, ...},  // else those of the page's light editor
//         before: url of the photograph as it was, or null,  // else "before" is the mean of the set
//         title: "...", texts: {...},  // see 74-desk-texts.js
//     });
//     desk.open({pictures, alpha}) shows another set in it; desk.close() takes it from the page.
//
// Addresses must be of the page's own origin, data: or blob:. `light` is as in stage.json: a preset's name, a light spec
// or {direction}. With `pictures` empty it is a drop zone; files dropped later replace the set. It changes nothing of
// the page outside `element` and needs no server.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {History, moved, command, modulo} = iclight.lamps;
    const {START, handMixed, relit, toJson, toSettings, fromSettings} = iclight.lighting;
    const {PictureSet, Fault, picture, pixelsOf, meaning, panoramaOf} = iclight.set;
    const {painterFor} = iclight.painter;
    const {Ring} = iclight.ring;
    const {Panel} = iclight.deskPanel;
    const {download, png, copy} = iclight.saving;
    const {Bench} = iclight.bench;
    const {make} = iclight.page;

    const WIDE = 860, NARROW = 500; // pixels from which a desk has its settings beside it, and under which it is small

    /** Texts as elements of their own, with spaces between. */
    const apart = (texts) => texts.filter(Boolean).flatMap((text) => [make("span", {}, text), " "]).slice(0, -1);

    class Desk extends Bench {
        constructor(element, {presets, labels, texts = {}, title, before = null, plain}) {
            super();
            const [editor] = Object.values(iclight.editor?.editors || {}); // of the page that we are on
            this.presets = presets || editor?.presets || {};
            this.labels = labels || editor?.labels || {};
            this.texts = {...iclight.deskTexts, ...texts};
            this.title = title || this.texts.desk;
            this.beforeUrl = before;
            this.plain = plain; // of painterFor
            this.build(element);
        }

        build(element) {
            const {texts} = this;
            this.ring = new Ring(this);
            this.panel = new Panel(this);
            this.undo = this.button("undo", () => this.travel(-1));
            this.redo = this.button("redo", () => this.travel(1));
            this.beforeButton = this.button("before", () => {}, {pointerdown: () => this.showBefore(true),
                pointerup: () => this.showBefore(false), pointerleave: () => this.showBefore(false),
                pointercancel: () => this.showBefore(false), blur: () => this.showBefore(false),
                keydown: (event) => [" ", "Enter"].includes(event.key) && this.showBefore(true),
                keyup: () => this.showBefore(false)});
            this.play = this.button("orbit", () => this.orbit());
            this.status = make("p", {class: "iclight-message", role: "status"});
            this.fault = make("p", {class: "iclight-fault", role: "alert"});
            this.fault.hidden = true;
            this.empty = make("div", {class: "iclight-desk-empty"}, make("p", {}, texts.empty),
                make("p", {class: "iclight-note"}, texts.emptyMore),
                this.opener("open", "", (files) => this.take(files), true));
            const bar = make("div", {class: "iclight-tools iclight-desk-bar"}, this.ring.loose, this.undo, this.redo,
                this.beforeButton, this.play);
            this.bench = make("div", {class: "iclight-desk-bench"}, make("div", {class: "iclight-desk-view"},
                this.ring.element, make("div", {class: "iclight-desk-under"}, bar, this.status)), this.panel.element);
            this.bench.hidden = true;
            this.root = make("section", {class: "iclight-desk", "aria-label": this.title,
                keydown: (event) => this.rootKey(event), keyup: (event) => this.rootKey(event),
                dragover: (event) => this.over(event, true), dragleave: (event) => this.over(event, false),
                drop: (event) => { this.over(event, false); this.take([...event.dataTransfer.files]); }},
            this.fault, this.empty, this.bench);
            element.replaceChildren(this.root);
            this.sizes = new ResizeObserver(([{contentRect: {width}}]) => {
                this.root.classList.toggle("is-wide", width >= WIDE);
                this.root.classList.toggle("is-small", width < NARROW);
            });
            this.sizes.observe(this.root);
        }

        button(name, run, more = {}) {
            return make("button", {type: "button", class: "iclight-button", click: run, "data-do": name, ...more},
                this.texts[name]);
        }

        /** A button that opens files. */
        opener(name, accept, run, multiple = false) {
            const input = make("input", {type: "file", accept, multiple, "data-open": name, change: () => {
                const files = [...input.files];
                input.value = "";
                if (files.length) run(files);
            }});
            input.hidden = true;
            const button = this.button(name, () => input.click());
            button.append(input);
            input.addEventListener("click", (event) => event.stopPropagation());
            return button;
        }

        /** Each part stands alone, as a translation of the page has it. */
        say(...parts) { this.status.replaceChildren(...apart(parts)); }

        /** What goes wrong is told, and nothing changes. */
        async trying(work) {
            this.fault.hidden = true;
            try {
                return await work();
            } catch (error) {
                this.fault.replaceChildren(...apart(error.parts || [error.message || String(error)]));
                this.fault.hidden = false;
                if (!(error instanceof Fault)) throw error;
                return undefined;
            }
        }

        // The set ---------------------------------------------------------------------------------------------------

        /** Show a set; see the top for what of. Whether there was one, and it is shown. */
        open({pictures = [], alpha = null}) {
            return this.trying(async () => {
                if (!pictures.length) return false;
                this.say(this.texts.loading);
                const set = await PictureSet.open({pictures, alpha}, this.presets, this.texts).catch((error) => {
                    this.say("");
                    throw error;
                });
                this.halt();
                [this.set, this.frame, this.under] = [set, [set.width, set.height], null];
                this.chosen = {what: "lamp", index: 0};
                this.state = set.lamps.some(({direction}) => direction) ? START
                    : handMixed(START, set.lamps.map(() => [1, 1, 1]));
                this.history = new History(JSON.stringify(this.state));
                this.setPainter(this.plain);
                this.root.style.setProperty("--aspect", set.aspect);
                this.ring.open(set, this.painter.canvas);
                this.panel.open();
                this.empty.hidden = true;
                this.bench.hidden = false;
                this.before = this.beforeUrl ? await picture(this.beforeUrl, this.texts.before, this.texts) : null;
                this.refresh();
                this.say(set.lamps.length, this.texts.opened, this.painter.gl ? "" : this.texts.slow);
                return true;
            });
        }

        setPainter(plain) {
            const old = this.painter;
            this.painter = null;
            old?.close();
            const made = painterFor(this.set, plain, () => {
                if (this.painter !== made) return; // closed by ourselves
                this.setPainter(true);
                this.ring.show(this.painter.canvas);
                this.refresh();
            });
            this.painter = made;
            if (this.under) made.setBackground(this.fitted(this.under));
        }

        fitted(image) { return pixelsOf(image, this.set.viewWidth, this.set.viewHeight); }

        /** Take files from disk, whatever they are. */
        take(files) {
            return this.trying(async () => {
                if (!files.length) return;
                const {set, settings, panorama, background} = await meaning(files, this.presets, this.texts);
                if (set && !await this.open(set)) return;
                if (!this.set) throw new Fault(this.texts.empty);
                if (settings) this.restore(settings);
                if (panorama) await this.light(panorama);
                if (background) await this.setUnder(background);
            });
        }

        restore(settings) {
            let state;
            try {
                state = fromSettings(settings, this.state, this.set, this.presets);
            } catch (error) {
                throw new Fault(error.message, {cause: error});
            }
            this.live(state);
            this.commit();
        }

        /** Light the subject by a panorama's file. */
        light(file) {
            return this.trying(async () => {
                const panorama = await panoramaOf(file, this.texts);
                let grid;
                try {
                    grid = iclight.environment.gridOf(panorama);
                } catch (error) {
                    throw new Fault(`${file.name}: ${error.message}`, {cause: error});
                }
                const {environments} = this.set, id = Object.keys(environments).length;
                environments[id] = {name: file.name, grid};
                this.live(relit(this.state, {kind: "environment", id, rotation: 0, saturation: 1}));
                this.commit();
                this.say(this.texts.panoramaLit);
            });
        }

        /** Put the subject before a picture's file. */
        setUnder(file) {
            return this.trying(async () => {
                if (!this.set.alpha) throw new Fault(this.texts.noMask);
                const url = URL.createObjectURL(file);
                this.under = await picture(url, file.name, this.texts);
                this.painter.setBackground(this.fitted(this.under));
                this.live({...this.state, background: "picture"});
                this.commit();
            });
        }

        // Keys, saving ----------------------------------------------------------------------------------------------

        /** A key pressed on a lamp. */
        key(event) {
            const asked = command(event), {index} = this.chosen, {lights} = this.state.spec;
            if (!asked || asked.travel || !lights[index]) return;
            if (asked.remove) this.removeLamp();
            else if (asked.choose) this.choose({what: "lamp", index: modulo(index + asked.choose, lights.length)});
            else {
                this.change(index, moved(lights[index], asked.move));
                this.commit();
            }
            this.ring.lampBox.children[this.chosen.index]?.focus();
            event.preventDefault();
            event.stopPropagation();
        }

        /** A key pressed or let go anywhere in the desk. */
        rootKey(event) {
            const {key, type, target} = event;
            if (!this.set || target.tagName === "SELECT" || event.altKey) return;
            const travel = type === "keydown" && command(event)?.travel;
            const plain = !event.ctrlKey && !event.metaKey, is = (letter) => plain && key.toLowerCase() === letter;
            if (travel) this.travel(travel);
            else if (is("b")) this.showBefore(type === "keydown");
            else if (is("o") && type === "keydown" && !event.repeat) this.orbit();
            else return;
            event.preventDefault();
            event.stopPropagation();
        }

        over(event, inside) {
            event.preventDefault();
            this.root.classList.toggle("is-over", inside);
        }

        get name() { return this.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "desk"; }

        savePicture() {
            return this.trying(async () => {
                this.say(this.texts.saving);
                await new Promise((resolve) => { setTimeout(resolve, 30); }); // until that is on the screen
                const {background} = this.state, under = {own: null, picture: this.under, none: "none"}[background];
                download(await png(this.set.full(this.weights, this.factor, under)), `${this.name}.png`);
                this.say(this.texts.saved);
            });
        }

        saveMix() {
            const text = JSON.stringify(toSettings(this.state, this.weights, this.set), null, 1);
            download(new Blob([text + "\n"], {type: "application/json"}), `${this.name}-mix.json`);
            this.say(this.texts.saved);
        }

        /** What `mix` reads after --light or --weights. */
        get json() { return JSON.stringify(toJson(this.state, this.weights, this.set.lamps)); }

        async copyJson() {
            const done = await copy(this.json, this.root);
            this.say(done ? this.texts.copied : "", this.json);
        }

        close() {
            this.halt();
            const {painter} = this;
            this.painter = null;
            painter?.close();
            this.sizes.disconnect();
            this.root.remove();
        }
    }

    /** A desk in an element; see the top. `ready` of it is a promise that its first set is shown. */
    function mount(element, options = {}) {
        const desk = new Desk(element, options);
        desk.ready = desk.open(options);
        return desk;
    }

    iclight.desk = {mount, Desk};
})();
