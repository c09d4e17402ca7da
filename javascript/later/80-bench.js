// What a desk's light is about: its state and history, the frames that follow it, its lights, and an orbit. What a person
// sees and touches is in 77-ring.js and 78-desk-panel.js; 82-desk.js puts all of it together.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {NEW, copied, round} = iclight.lamps;
    const {clamp} = iclight.lights;
    const {weightsFor, factorFor, handMixed, relit, ofLight, orbiting} = iclight.lighting;

    const ORBIT = 6000; // milliseconds of one turn
    const ORBIT_STEPS = 24; // at which an orbit's exposure is measured
    const AMBIENT = "#202020"; // around a first lamp
    const NO_LIGHT = {ambient: "#000000", lights: []};
    const KEPT_TIMES = 300; // of the frames painted last

    /** The base of a desk, which has `set`, `texts`, `presets`, `ring`, `panel`, `painter` and a few buttons. */
    class Bench {
        constructor() {
            this.times = []; // milliseconds of script that each frame took
            this.chosen = {what: "lamp", index: 0};
            this.settled = true; // no change is on its way
        }

        /** What the page calls a light: a preset by its label, another as its maker named it. */
        label(name) {
            const plain = () => name.charAt(0).toUpperCase() + name.slice(1).replace("-", " ");
            return this.labels[name] || (Object.hasOwn(this.presets, name) ? plain() : name);
        }

        // The state -------------------------------------------------------------------------------------------------

        /** The weights of the state, and what they are multiplied by. */
        measure() {
            const weights = weightsFor(this.state, this.set);
            if (!weights) this.say(this.texts.noDirection);
            this.weights = weights || this.weights || this.set.lamps.map(() => [0, 0, 0]);
            this.factor = this.fixedFactor ?? factorFor(this.state, this.weights, this.set);
            this.hand = this.state.kind === "weights" ? this.state.lights : handMixed(this.state, this.weights).lights;
        }

        /** Copies of the state for the fields to change; `edited` takes them over. */
        get editedSpec() { return this.draft("spec", () => this.state.spec || NO_LIGHT); }
        get editedHand() { return this.draft("hand", () => this.hand); }

        draft(name, of) {
            if (this.draftOf !== this.state) [this.draftOf, this.drafts] = [this.state, {}];
            return this.drafts[name] ??= structuredClone(of());
        }

        edited(what) {
            const lights = structuredClone(what === "set" ? this.editedHand : this.editedSpec);
            if (what === "set") this.mixByHand(lights);
            else this.live(relit(this.state, {kind: "light", light: null, spec: lights}));
        }

        /** A state on its way: shown in the next frame. */
        live(state) {
            if (this.settled) this.say(""); // what was said is of the change before
            this.settled = false;
            this.halt();
            this.state = state;
            this.measure(); // what fingers do until then is about this state
            this.soon();
        }

        soon() {
            this.waiting ??= requestAnimationFrame(() => {
                this.waiting = null;
                this.refresh({moving: true});
            });
        }

        /** The state is one to come back to. */
        commit() {
            cancelAnimationFrame(this.waiting);
            this.waiting = null;
            this.history.add(JSON.stringify(this.state));
            this.settled = true;
            this.refresh();
            if (!this.weights.flat().some(Boolean)) this.say(this.texts.black);
        }

        travel(by) {
            const entry = this.history.travel(this.playing && by < 0 ? 0 : by); // what plays is no entry yet
            this.halt();
            if (entry === undefined) return;
            this.state = JSON.parse(entry);
            this.settled = true;
            this.refresh();
            this.say(by < 0 ? this.texts.undone : this.texts.redone);
        }

        choose(chosen) {
            if (JSON.stringify(chosen) === JSON.stringify(this.chosen)) return;
            this.chosen = chosen;
            this.refresh({paint: false});
        }

        // What is chosen exists.
        settle() {
            const count = this.state.spec?.lights.length || 0, {what, index} = this.chosen;
            if (what === "lamp" && this.state.kind !== "light") this.chosen = {what: "set", index: 0};
            else if (what === "lamp") this.chosen = {what, index: clamp(index, 0, Math.max(0, count - 1))};
        }

        /** Everything that depends on the state, drawn anew. moving: quickly. */
        refresh({moving = false, paint = true} = {}) {
            const began = performance.now();
            this.settle();
            this.measure();
            if (paint) this.paint({moving});
            this.ring.update();
            this.panel.update({moving});
            this.undo.disabled = this.history.isFirst;
            this.redo.disabled = this.history.isLast;
            if (moving) this.times = [...this.times, performance.now() - began].slice(-KEPT_TIMES);
        }

        paint({moving = false} = {}) {
            const {weights, factor, state} = this, background = this.set.alpha ? state.background : "own";
            const usable = background === "picture" && !this.under ? "own" : background;
            this.painter.paint({weights, factor, background: usable, moving});
            this.painter.canvas.setAttribute("aria-label", this.title);
        }

        showBefore(shown) {
            if (!this.set || shown === this.showing) return;
            this.showing = shown;
            this.beforeButton.setAttribute("aria-pressed", String(shown));
            this.root.classList.toggle("is-before", shown);
            if (shown) {
                const even = this.set.lamps.map(() => [1, 1, 1].map((one) => one / this.set.lamps.length));
                this.painter.paint({weights: even, factor: 1, background: "own"});
                if (this.before) this.ring.picture.append(this.before);
                this.before?.setAttribute("class", "iclight-desk-before");
            } else {
                this.before?.remove();
                this.paint();
            }
            this.say(shown ? this.texts.beforeShown : this.texts.after);
        }

        // Lights ----------------------------------------------------------------------------------------------------

        preset(name) {
            this.chosen = {what: "lamp", index: 0};
            this.live(relit(this.state, ofLight(name, this.presets)));
            this.commit();
        }

        thumb(name) {
            const weights = weightsFor(ofLight(name, this.presets), this.set);
            return weights && this.set.thumb(weights, this.set.meter(weights));
        }

        setSpec(spec) { this.live(relit(this.state, {kind: "light", light: null, spec})); }

        /** A changed light of the light spec. */
        change(index, changes) {
            const {spec} = this.state;
            this.setSpec({...spec, lights: spec.lights.map((one, i) => i === index ? {...one, ...changes} : one)});
        }

        /** Another light; around a first one it is dim. */
        addLight(light) {
            const {spec = NO_LIGHT} = this.state, first = !spec.lights.length;
            this.chosen = {what: "lamp", index: spec.lights.length};
            this.setSpec({ambient: first ? AMBIENT : spec.ambient, lights: [...spec.lights, light]});
        }

        addLamp(kind) {
            this.addLight({...NEW[kind]});
            this.commit();
            this.say(this.texts.added);
        }

        copyLamp() {
            this.addLight(copied(this.state.spec.lights[this.chosen.index]));
            this.commit();
        }

        removeLamp() {
            const {spec} = this.state;
            if (!spec?.lights.length || this.chosen.what !== "lamp") return;
            this.setSpec({...spec, lights: spec.lights.filter((_, index) => index !== this.chosen.index)});
            this.commit();
            this.say(this.texts.removed);
        }

        /** The lamp nearest at hand goes to a place, or a first one is put there; its index. */
        lampTo([x, y]) {
            const lights = this.state.spec?.lights || [], isLamp = (light) => light?.kind === "point";
            const chosen = this.chosen.what === "lamp" && isLamp(lights[this.chosen.index]) ? this.chosen.index
                : lights.findIndex(isLamp);
            const place = {x: round(clamp(x, 0, 1), 3), y: round(clamp(y, 0, 1), 3)};
            if (chosen < 0) {
                this.addLight({...NEW.point, radius: 1, ...place});
                this.refresh({moving: true});
                return lights.length;
            }
            this.chosen = {what: "lamp", index: chosen};
            this.change(chosen, place);
            return chosen;
        }

        mixByHand(lights) {
            const {kind, auto, ev, background} = this.state;
            this.live({kind: "weights", lights, auto, ev, background});
            if (kind !== "weights") this.say(this.texts.byHand);
        }

        turnKnob(number, intensity) {
            const value = Math.round(100 * clamp(intensity, 0, 1000)) / 100;
            this.mixByHand(this.hand.map((light, i) => i === number ? {...light, intensity: value} : light));
        }

        /** A light of the set off, and on again as it was. */
        toggle(number) {
            this.switched ??= {};
            const {intensity} = this.hand[number];
            if (intensity > 0) this.switched[number] = intensity;
            this.turnKnob(number, intensity > 0 ? 0 : this.switched[number] ?? 1);
            this.commit();
        }

        // Playing ---------------------------------------------------------------------------------------------------

        /** Let the light go around, or the surroundings turn; until it is pressed again, or something is changed. */
        orbit() {
            if (this.playing) {
                this.halt();
                this.commit();
                this.say(this.texts.stopped);
                return;
            }
            const from = this.state, chosen = this.chosen.what === "lamp" ? this.chosen.index : 0;
            const around = Array.from({length: ORBIT_STEPS}, (_, i) =>
                weightsFor(orbiting(from, chosen, i / ORBIT_STEPS), this.set));
            if (around.includes(null)) return this.say(this.texts.noDirection);
            const mean = around[0].map((_, lamp) => [0, 1, 2].map((channel) =>
                around.reduce((sum, weights) => sum + weights[lamp][channel], 0) / ORBIT_STEPS));
            const factor = factorFor(from, mean, this.set); // one for all, so that nothing flickers
            const began = performance.now();
            const next = (now) => {
                this.state = orbiting(from, chosen, Math.max(now - began, 0) / ORBIT % 1);
                this.fixedFactor = factor;
                this.playing = requestAnimationFrame(next);
                this.refresh({moving: true});
            };
            this.playing = requestAnimationFrame(next);
            this.play.textContent = this.texts.stop;
            this.say(this.texts.playing);
        }

        halt() {
            if (!this.playing) return;
            cancelAnimationFrame(this.playing);
            this.playing = this.fixedFactor = null;
            this.play.textContent = this.texts.orbit;
        }
    }

    iclight.bench = {Bench};
})();
