// The inputs beside the canvas: what the chosen light is, and the ambient colour.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {cssColor} = iclight.lights;
    const {round, modulo, shareOf, kelvinOf, isTemperature} = iclight.lamps;
    const {make} = iclight.page;

    class Fields {
        /** editor: has `spec`, `chosen` and `texts`; told by `live()` of a value on its way, by `commit()` of one. */
        constructor(editor) {
            this.editor = editor;
            this.element = make("div", {class: "iclight-fields"});
            this.shape = null;
            this.fillers = []; // each puts the light's value into an input
        }

        get light() { return this.editor.spec.lights[this.editor.chosen]; }

        /** Show the editor's light; inputs are made anew only when there are other ones than before. */
        update() {
            const {spec, chosen} = this.editor;
            const shape = JSON.stringify([chosen, spec.lights.map((light) => light.kind),
                isTemperature(this.light?.color)]);
            if (shape !== this.shape) {
                this.shape = shape;
                this.fillers = [];
                const rows = this.light ? [this.choice(), this.colouring(), this.color(), ...this.numbers()] : [];
                this.element.replaceChildren(...rows, this.ambient());
            }
            this.fill();
        }

        fill() {
            for (const fill of this.fillers) fill();
        }

        row(label, ...inputs) {
            return make("label", {class: "iclight-row"}, make("span", {}, label), ...inputs);
        }

        /** A slider on a value of the chosen light; `read` and `write` turn it into the slider's and back. */
        slider(name, label, [low, high, step], read = (v) => v, write = (v) => v) {
            const shown = make("output", {});
            const input = make("input", {type: "range", min: low, max: high, step, "data-field": name,
                input: () => {
                    this.light[name] = write(Number(input.value));
                    fill();
                    this.editor.live();
                }, change: () => this.editor.commit()});
            const fill = () => {
                const value = this.light[name];
                input.value = read(value);
                shown.textContent = typeof value === "number" ? String(round(value, 2)) : value;
            };
            this.fillers.push(fill);
            return this.row(label, input, shown);
        }

        picker(name, label, read, write) {
            const input = make("input", {type: "color", "data-field": name,
                input: () => { write(input.value); this.editor.live(); }, change: () => this.editor.commit()});
            this.fillers.push(() => { input.value = cssColor(read()); });
            return this.row(label, input);
        }

        /** Which light is chosen. */
        choice() {
            const {editor} = this;
            const list = make("select", {"data-field": "chosen",
                change: () => { editor.chosen = Number(list.value); editor.refresh(); }},
            ...editor.spec.lights.map((light, i) =>
                make("option", {value: i}, `${i + 1} · ${editor.texts[light.kind]}`)));
            this.fillers.push(() => { list.value = editor.chosen; });
            return this.row(editor.texts.lights, list);
        }

        /** Whether its colour is one or a temperature. */
        colouring() {
            const {editor} = this;
            const list = make("select", {"data-field": "colouring", change: () => {
                this.light.color = list.value === "temperature" ? "5000K" : cssColor(this.light.color || "#ffffff");
                editor.commit();
            }}, ...["color", "temperature"].map((one) => make("option", {value: one}, editor.texts[one])));
            list.value = isTemperature(this.light.color) ? "temperature" : "color";
            return this.row(editor.texts.coloring, list);
        }

        color() {
            const {texts} = this.editor;
            if (isTemperature(this.light.color)) {
                return this.slider("color", texts.temperature, [0, 1, 0.005], (text) => shareOf(parseFloat(text)),
                    (share) => `${kelvinOf(share)}K`);
            }
            return this.picker("color", texts.color, () => this.light.color || "#ffffff",
                (value) => { this.light.color = value; });
        }

        numbers() {
            const {texts} = this.editor;
            return [
                this.slider("intensity", texts.intensity, [0, 3, 0.05], (v) => v ?? 1),
                this.light.kind === "directional"
                    ? this.slider("angle", texts.angle, [0, 359, 1], (v) => modulo(v, 360))
                    : this.slider("radius", texts.size, [0.05, 3, 0.05], (v) => v ?? 0.5),
            ];
        }

        ambient() {
            const {editor} = this;
            return this.picker("ambient", editor.texts.ambient, () => editor.spec.ambient,
                (value) => { editor.spec.ambient = value; });
        }
    }

    iclight.fields = {Fields};
})();
