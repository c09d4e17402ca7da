// The desk's settings beside its picture: lights, surroundings, exposure, background, saving.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {Fields} = iclight.fields;
    const {round} = iclight.lamps;
    const {make} = iclight.page;

    const MOST_EV = 5;

    /** The fields of a light of the set: intensity, and colour or temperature. */
    class SetFields extends Fields {
        choice() {
            const {editor} = this;
            const list = make("select", {"data-field": "chosen",
                change: () => { editor.chosen = Number(list.value); }},
            ...editor.names.map((name, number) => make("option", {value: number}, name)));
            this.fillers.push(() => { list.value = editor.chosen; });
            return this.row(editor.texts.lights, list);
        }

        numbers() { return [this.slider("intensity", this.editor.texts.intensity, [0, 4, 0.01])]; }

        ambient() { return ""; }
    }

    /** What fields need of an editor, of the light spec's lamps or of the set's lights. */
    const editing = (desk, what) => ({
        texts: desk.texts, live: () => desk.edited(what), refresh: () => desk.refresh(),
        commit: () => { desk.edited(what); desk.commit(); }, // a list commits what it never showed as on its way
        get chosen() { return desk.chosen.what === what ? desk.chosen.index : 0; },
        set chosen(index) { desk.choose({what, index}); },
    });

    class Panel {
        /** desk: see 80-desk.js. */
        constructor(desk) {
            this.desk = desk;
            const {texts} = desk;
            this.lampFields = new Fields(Object.defineProperty(editing(desk, "lamp"), "spec",
                {get: () => desk.editedSpec}));
            this.setFields = new SetFields(Object.defineProperties(editing(desk, "set"), {
                spec: {get: () => ({lights: desk.editedHand})},
                names: {get: () => desk.set.lamps.map(({name}) => desk.label(name))}}));
            this.tiles = make("div", {class: "iclight-tiles", role: "group", "aria-label": texts.presets});
            this.copy = desk.button("copy", () => desk.copyLamp());
            this.remove = desk.button("remove", () => desk.removeLamp());
            this.element = make("div", {class: "iclight-desk-side"},
                this.section(texts.presets, this.tiles, make("div", {class: "iclight-tools"},
                    desk.button("addPoint", () => desk.addLamp("point")),
                    desk.button("addDirectional", () => desk.addLamp("directional")), this.copy, this.remove)),
                this.section(texts.chosen, this.lampFields.element, this.setFields.element),
                this.surroundings(), this.exposure(), this.background(), this.saving());
        }

        section(title, ...children) {
            return make("fieldset", {class: "iclight-desk-section"}, make("legend", {}, title), ...children);
        }

        slider(name, label, [low, high, step], unit = "") {
            const {desk} = this, shown = make("output", {});
            const input = make("input", {type: "range", min: low, max: high, step, "data-field": name,
                input: () => desk.live({...desk.state, [name]: Number(input.value)}), change: () => desk.commit(),
                dblclick: () => { desk.live({...desk.state, [name]: name === "saturation" ? 1 : 0}); desk.commit(); }});
            const fill = () => {
                const value = desk.state[name] ?? 0;
                input.value = value;
                shown.textContent = `${name === "ev" && value > 0 ? "+" : ""}${round(value, 2)}${unit}`;
            };
            return {row: make("label", {class: "iclight-row"}, make("span", {}, label), input, shown), fill};
        }

        surroundings() {
            const {desk} = this, {texts} = desk;
            this.turn = this.slider("rotation", texts.turn, [-180, 180, 1], "°");
            this.saturation = this.slider("saturation", texts.saturation, [0, 1, 0.01]);
            this.environment = make("p", {class: "iclight-note"}, texts.panoramaHint);
            this.hidden = make("div", {class: "iclight-fields"}, this.turn.row, this.saturation.row);
            return this.section(texts.surroundings, this.environment, make("div", {class: "iclight-tools"},
                desk.opener("panorama", ".hdr,.pic,image/*", (files) => desk.light(files[0]))), this.hidden);
        }

        exposure() {
            const {desk} = this, {texts} = desk;
            this.auto = make("input", {type: "checkbox", "data-field": "auto", change: () => {
                desk.live({...desk.state, auto: this.auto.checked});
                desk.commit();
            }});
            this.ev = this.slider("ev", texts.stops, [-MOST_EV, MOST_EV, 0.05]);
            return this.section(texts.exposure, make("label", {class: "iclight-check"}, this.auto,
                make("span", {}, texts.auto)), make("div", {class: "iclight-fields"}, this.ev.row));
        }

        background() {
            const {desk} = this, {texts} = desk;
            this.noMask = make("p", {class: "iclight-note"}, texts.noMask);
            const choose = (background) => () => {
                desk.live({...desk.state, background});
                desk.commit();
            };
            this.grounds = {own: desk.button("own", choose("own")),
                picture: desk.opener("picture", "image/*", (files) => desk.setUnder(files[0])),
                none: desk.button("none", choose("none"))};
            return this.section(texts.background, make("div", {class: "iclight-tools iclight-desk-three",
                role: "group", "aria-label": texts.background}, ...Object.values(this.grounds)), this.noMask);
        }

        saving() {
            const {desk} = this, {texts} = desk;
            return this.section(texts.save, make("div", {class: "iclight-tools"},
                desk.button("savePicture", () => desk.savePicture()), desk.button("saveMix", () => desk.saveMix()),
                desk.button("copyJson", () => desk.copyJson()),
                desk.opener("open", "", (files) => desk.take(files), true)),
            make("p", {class: "iclight-note"}, texts.keys));
        }

        /** Tiles for a new set: its own picture in the light of each preset. */
        open() {
            const {desk} = this, {THUMB} = iclight.set;
            this.tiles.replaceChildren(...Object.keys(desk.presets).filter((name) => name !== "none").map((name) => {
                const canvas = make("canvas", {width: THUMB[0], height: THUMB[1], "aria-hidden": "true"});
                const thumb = desk.thumb(name);
                if (thumb) canvas.getContext("2d").putImageData(new ImageData(thumb.data, ...THUMB), 0, 0);
                const tile = make("button", {type: "button", class: "iclight-tile", "data-light": name,
                    click: () => desk.preset(name)}, canvas, make("span", {}, desk.label(name)));
                tile.disabled = !thumb;
                return tile;
            }));
            this.noMask.hidden = Boolean(desk.set.alpha);
            for (const button of Object.values(this.grounds)) button.disabled = !desk.set.alpha;
        }

        update({moving = false} = {}) {
            const {desk} = this, {state, chosen} = desk;
            const ofSet = chosen.what === "set";
            this.lampFields.element.hidden = ofSet;
            this.setFields.element.hidden = !ofSet;
            if (moving) (ofSet ? this.setFields : this.lampFields).fill();
            else (ofSet ? this.setFields : this.lampFields).update();
            for (const slider of [this.turn, this.saturation, this.ev]) slider.fill();
            for (const tile of this.tiles.children) {
                tile.setAttribute("aria-pressed", String(state.kind === "light" && tile.dataset.light === state.light));
            }
            if (moving) return;
            this.copy.disabled = this.remove.disabled = !state.spec?.lights.length || ofSet;
            this.hidden.hidden = state.kind !== "environment";
            this.environment.textContent = state.kind === "environment" ? desk.set.environments[state.id].name
                : desk.texts.panoramaHint;
            this.auto.checked = state.auto;
            for (const [name, button] of Object.entries(this.grounds)) {
                button.setAttribute("aria-pressed", String(state.background === name));
            }
        }
    }

    iclight.deskPanel = {Panel};
})();
