// What lies on and around the desk's picture: a handle for each light of the light spec, and a knob for each of the set.
// It shows the desk's state and tells the desk what fingers, the mouse and keys ask for; it keeps none of its own.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {cssColor} = iclight.lights;
    const {handles, nearest, dragged, command, round} = iclight.lamps;
    const {ring, levelOf, glow} = iclight.lighting;
    const {make} = iclight.page;

    const PULL = 120; // pixels of a drag for one more of intensity
    const STILL = 4; // pixels of a drag that count as none
    const MOST = 4; // intensity that a screen reader is told to be the end

    const percent = (share) => `${round(100 * share, 2)}%`;
    const put = (element, [x, y]) => {
        element.style.setProperty("--x", x);
        element.style.setProperty("--y", y);
    };

    class Ring {
        /** desk: see 80-desk.js. */
        constructor(desk) {
            this.desk = desk;
            this.reach = make("div", {class: "iclight-desk-reach"});
            this.clip = make("div", {class: "iclight-desk-clip", "aria-hidden": "true"}, this.reach);
            this.grip = make("div", {class: "iclight-desk-size", "aria-hidden": "true"}); // of the chosen lamp's size
            this.lampBox = make("div", {class: "iclight-desk-lamps"});
            this.picture = make("div", {class: "iclight-desk-picture", pointerdown: (event) => this.press(event),
                pointermove: (event) => this.drag(event), pointerup: (event) => this.drop(event),
                pointercancel: (event) => this.drop(event)}, this.clip, this.grip, this.lampBox);
            this.knobBox = make("div", {class: "iclight-desk-knobs"});
            this.loose = make("div", {class: "iclight-desk-loose"}); // knobs of lights without a side
            this.element = make("div", {class: "iclight-desk-ring", role: "group",
                "aria-label": desk.texts.around}, this.picture, this.knobBox);
            this.shape = null;
        }

        /** Show a new set, painted on `canvas`. */
        open(set, canvas) {
            this.show(canvas);
            const places = ring(set.lamps, set.aspect);
            this.knobs = set.lamps.map((lamp, number) => this.knob(lamp, number, places[number]));
            this.knobBox.replaceChildren(...this.knobs.filter((_, number) => places[number]));
            this.loose.replaceChildren(...this.knobs.filter((_, number) => !places[number])
                .map((knob) => make("span", {class: "iclight-desk-named"}, knob, knob.title)));
            this.shape = null;
        }

        show(canvas) {
            canvas.setAttribute("class", "iclight-desk-canvas");
            canvas.setAttribute("role", "img");
            this.canvas?.remove();
            this.canvas = canvas;
            this.picture.prepend(canvas);
        }

        /** Show the desk's state. */
        update() {
            const {state, hand, chosen} = this.desk;
            hand.forEach((light, number) => this.fill(this.knobs[number], light,
                chosen.what === "set" && chosen.index === number));
            const lights = state.spec?.lights || [];
            if (lights.length !== this.shape) {
                this.shape = lights.length;
                this.lampBox.replaceChildren(...lights.map((_, index) => this.lamp(index)));
            }
            lights.forEach((light, index) => this.place(light, index));
            this.around(chosen.what === "lamp" ? lights[chosen.index] : null);
        }

        // Knobs -----------------------------------------------------------------------------------------------------

        knob({name}, number, place) {
            const label = this.desk.label(name);
            const button = make("button", {type: "button", class: "iclight-desk-knob", role: "slider", title: label,
                "aria-label": label, "aria-valuemin": 0, "aria-valuemax": MOST, "data-knob": name,
                pointerdown: (event) => this.grasp(event, number), dblclick: () => this.desk.toggle(number),
                focus: () => this.desk.choose({what: "set", index: number}),
                keydown: (event) => this.turn(event, number)});
            if (place) put(button, place);
            return button;
        }

        fill(knob, light, chosen) {
            const {intensity} = light, {texts} = this.desk;
            knob.style.setProperty("--level", round(levelOf(intensity), 3));
            knob.style.setProperty("--tint", glow(light));
            knob.classList.toggle("is-chosen", chosen);
            knob.setAttribute("aria-valuenow", round(Math.min(intensity, MOST), 2));
            knob.setAttribute("aria-valuetext", intensity > 0 ? `${round(intensity, 2)}, ${light.color}` : texts.off);
        }

        /** A knob is dragged up or to the right for more light. */
        grasp(event, number) {
            const {desk} = this, knob = event.currentTarget, {clientX, clientY} = event;
            const from = desk.hand[number].intensity, follow = new AbortController();
            let moved = false;
            desk.choose({what: "set", index: number});
            knob.focus({preventScroll: true});
            knob.setPointerCapture(event.pointerId);
            event.preventDefault();
            const on = (kind, run) => knob.addEventListener(kind, run, {signal: follow.signal});
            const end = () => {
                follow.abort();
                if (moved) desk.commit();
            };
            on("pointermove", (next) => {
                const way = next.clientX - clientX + clientY - next.clientY;
                if (!moved && Math.abs(way) < STILL) return;
                moved = true;
                desk.turnKnob(number, from + way / PULL);
            });
            on("pointerup", end);
            on("pointercancel", end);
        }

        turn(event, number) {
            const {desk} = this, asked = command(event), {intensity} = desk.hand[number];
            if (event.key === "Enter" || event.key === " ") desk.toggle(number);
            else if (event.key === "Home" || asked?.remove) desk.turnKnob(number, 0);
            else if (asked?.move) desk.turnKnob(number, intensity + 0.05 * (asked.move[0] - asked.move[1]));
            else return;
            event.preventDefault();
            event.stopPropagation();
            desk.commit();
        }

        // Lamps -----------------------------------------------------------------------------------------------------

        lamp(index) {
            return make("button", {type: "button", class: "iclight-desk-lamp", "data-lamp": index,
                focus: () => this.desk.choose({what: "lamp", index}), keydown: (event) => this.desk.key(event)});
        }

        place(light, index) {
            const {desk} = this, button = this.lampBox.children[index];
            const {move} = handles(light, desk.frame), {chosen} = desk;
            const isChosen = chosen.what === "lamp" && chosen.index === index;
            put(button, move);
            button.style.setProperty("--tint", cssColor(light.color || "#ffffff"));
            button.classList.toggle("is-side", light.kind === "directional");
            button.classList.toggle("is-chosen", isChosen);
            const {texts} = desk, kind = `${texts[light.kind]} ${index + 1}`;
            button.setAttribute("aria-label", light.kind === "directional" ? `${kind}: ${Math.round(light.angle)}°`
                : `${kind}, ${texts.lampAt} ${Math.round(100 * light.x)}, ${Math.round(100 * light.y)}`);
        }

        /** The circle where the chosen lamp's light ends. */
        around(light) {
            this.reach.hidden = this.grip.hidden = light?.kind !== "point";
            if (this.reach.hidden) return;
            put(this.grip, handles(light, this.desk.frame).size);
            const [width, height] = this.desk.frame, radius = (light.radius ?? 0.5) * Math.min(width, height);
            const {style} = this.reach;
            style.setProperty("left", percent(light.x - radius / width));
            style.setProperty("top", percent(light.y - radius / height));
            style.setProperty("width", percent(2 * radius / width));
            style.setProperty("height", percent(2 * radius / height));
        }

        where(event, box) { return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]; }

        /** A handle is taken; or the mouse puts a lamp where it is. A finger scrolls the page until it is lifted. */
        press(event) {
            const {desk} = this, box = this.picture.getBoundingClientRect(), at = this.where(event, box);
            if (!desk.set || event.button > 0) return;
            const index = desk.chosen.what === "lamp" ? desk.chosen.index : -1;
            this.held = nearest(desk.state.spec?.lights || [], index, at, desk.frame, box);
            this.moved = false;
            this.start = [event.clientX, event.clientY];
            if (!this.held && event.pointerType !== "mouse") return;
            if (this.held) {
                desk.choose({what: "lamp", index: this.held.index});
            } else {
                this.held = {index: desk.lampTo(at), what: "move"};
                this.moved = true;
            }
            this.lampBox.children[this.held.index]?.focus({preventScroll: true});
            this.picture.setPointerCapture(event.pointerId);
            event.preventDefault();
        }

        drag(event) {
            if (!this.held) return;
            if (!this.moved && Math.hypot(event.clientX - this.start[0], event.clientY - this.start[1]) < 2) return;
            this.moved = true;
            const {desk, held} = this, at = this.where(event, this.picture.getBoundingClientRect());
            desk.change(held.index, dragged(desk.state.spec.lights[held.index], held.what, at, desk.frame));
        }

        drop(event) {
            const {desk} = this, tapped = !this.held && this.start && event.type === "pointerup"
                && Math.hypot(event.clientX - this.start[0], event.clientY - this.start[1]) < 10;
            if (tapped) desk.lampTo(this.where(event, this.picture.getBoundingClientRect()));
            if (tapped || this.held && this.moved) desk.commit();
            this.held = this.start = null;
        }
    }

    iclight.ring = {Ring};
})();
