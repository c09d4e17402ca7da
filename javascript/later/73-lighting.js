// What a desk's light is, and what is made of it: weights, a file of settings, the next moment of an orbit.
//
// A state is an object of JSON values that is never changed, only replaced:
//   {kind: "light", light: a preset's name or null, spec: a light spec}
//   {kind: "weights", lights: [{kind: "set", color, intensity} for each light of the set]}
//   {kind: "environment", id: of one in `environments`, rotation: degrees, saturation: 0..1}
// each with auto: whether the exposure is automatic, ev: stops on top of it, background: "own", "picture" or "none".
// A set is {lamps, aspect, meter, environments}; see 75-set.js. Nothing here needs a page.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {linearColor, encode, emission, clamp} = iclight.lights;
    const {round, modulo} = iclight.lamps;
    const {weightsOf, toNames, fromNames, inOrder} = iclight.mix;
    const {environmentWeights} = iclight.environment;

    const MAX_EV = 20;
    const ORBIT_AMBIENT = "#202020"; // around an orbiting light that has none

    const START = {kind: "light", light: null, spec: {ambient: "#7f7f7f", lights: []}, auto: true, ev: 0,
        background: "own"};

    /** Weights of a state on a set, [red, green, blue] for each lamp; null where the set cannot make this light. */
    function weightsFor(state, {lamps, aspect, environments}) {
        if (state.kind === "weights") return state.lights.map(emission);
        if (state.kind === "light") return weightsOf(state.spec, lamps, aspect);
        return environmentWeights(environments[state.id].grid, lamps, state);
    }

    /** What weights are multiplied by. */
    const factorFor = ({auto, ev}, weights, {meter}) => (auto ? meter(weights) : 1) * 2 ** ev;

    /** Weights as lights of a set, with a colour that can be shown and an intensity. */
    const byHand = (weights) => weights.map((weight) => {
        const most = Math.max(...weight);
        const hex = (value) => Math.round(255 * encode(value / most)).toString(16).padStart(2, "0");
        return {kind: "set", color: most > 0 ? "#" + weight.map(hex).join("") : "#ffffff", intensity: round(most, 4)};
    });

    /** The same light, mixed by hand. */
    const handMixed = (state, weights) => ({kind: "weights", lights: byHand(weights), auto: state.auto, ev: state.ev,
        background: state.background});

    /** The same state with another light. */
    const relit = ({auto, ev, background}, lighting) => ({...lighting, auto, ev, background});

    /** What `mix` reads: the light spec (or its preset's name) after --light, or the weights after --weights. */
    const toJson = (state, weights, lamps) =>
        state.kind === "light" ? state.light || state.spec : toNames(weights, lamps);

    /** A mix as a file of settings: {version, light or weights, exposure}; exposure is "auto" or a number of stops. */
    function toSettings(state, weights, set) {
        const stops = Math.log2(factorFor(state, weights, set));
        const exposure = state.auto && state.ev === 0 ? "auto" : round(clamp(stops, -MAX_EV, MAX_EV), 4);
        const made = toJson(state, weights, set.lamps);
        return state.kind === "light" ? {version: 1, light: made, exposure} : {version: 1, weights: made, exposure};
    }

    /** The state that such a file describes; `state` gives the background. Throws an Error for what is none. */
    function fromSettings({light, weights, exposure = "auto"}, state, {lamps}, presets) {
        const auto = exposure === "auto";
        if (!auto && !(Math.abs(exposure) <= MAX_EV)) throw new Error("exposure is \"auto\" or a number of stops.");
        const base = {...state, auto, ev: auto ? 0 : exposure};
        if (weights) return handMixed(base, fromNames(weights, lamps));
        if (!light) throw new Error("it has neither a light nor weights.");
        const text = typeof light === "string" ? light : JSON.stringify(light);
        return relit(base, ofLight(text, presets));
    }

    /** A light (a preset's name, or a spec's JSON text) as a state's light. Throws an Error. */
    function ofLight(text, presets) {
        const spec = iclight.lights.parse(text, presets);
        for (const one of spec.lights) linearColor(one.color || "#ffffff"); // throws for what is no colour
        return {kind: "light", light: text in presets ? text : null, spec};
    }

    /** The moment of an orbit at `share`, 0..1, of its way around: a light from one side, clockwise from the top. */
    function orbiting(state, chosen, share) {
        if (state.kind === "environment") {
            return {...state, rotation: round(modulo(state.rotation + 360 * share + 180, 360) - 180, 2)};
        }
        const spec = state.spec || {}, like = spec.lights?.[chosen] || {};
        const dark = !spec.lights?.length || /^#0+$/.test(spec.ambient);
        const start = like.kind === "directional" ? like.angle : 90;
        return relit(state, {kind: "light", light: null, spec: {ambient: dark ? ORBIT_AMBIENT : spec.ambient,
            lights: [{kind: "directional", angle: round(modulo(start - 360 * share, 360), 2),
                color: like.color || "#ffffff", intensity: like.intensity ?? 1}]}});
    }

    // The ring ------------------------------------------------------------------------------------------------------

    /** A place on the border of a picture that is `aspect` times as wide as high, 0..1 clockwise from its upper left. */
    function placeAt(share, aspect) {
        let rest = modulo(share, 1) * 2 * (aspect + 1);
        if (rest < aspect) return [rest / aspect, 0];
        rest -= aspect;
        if (rest < 1) return [1, rest];
        rest -= 1;
        return rest < aspect ? [1 - rest / aspect, 1] : [0, 1 - (rest - aspect)];
    }

    /** The share of the border at which a direction leaves the picture, whose corners lie at 45, 135 ... degrees. */
    function shareAt([x, y], aspect) {
        const most = Math.max(Math.abs(x), Math.abs(y)) || 1, [u, v] = [(x / most + 1) / 2, (1 - y / most) / 2];
        const length = v <= 0 ? u * aspect : u >= 1 ? aspect + v : v >= 1 ? aspect + 1 + (1 - u) * aspect
            : 2 * aspect + 1 + (1 - v);
        return length / (2 * (aspect + 1));
    }

    /**
     * Places of a circle (in 0..1 of it, in order) moved as little as may be, so that none are nearer than `gap`: in
     * order from the widest gap on, a least-squares fit of numbers that do not fall (pool adjacent violators).
     */
    function spread(places, gap) {
        const count = places.length, after = (i) => modulo(places[i] - places[modulo(i - 1, count)], 1) || 1;
        const first = places.reduce((widest, _, i) => after(i) > after(widest) ? i : widest, 0);
        const order = places.map((_, i) => (first + i) % count), start = places[first], pools = [];
        order.forEach((number, i) => {
            let [total, size] = [modulo(places[number] - start, 1) - i * gap, 1];
            while (pools.length && pools.at(-1).total / pools.at(-1).size > total / size) {
                const before = pools.pop();
                [total, size] = [total + before.total, size + before.size];
            }
            pools.push({total, size});
        });
        const flat = pools.flatMap(({total, size}) => Array.from({length: size}, () => total / size));
        const even = flat[count - 1] + (count - 1) * gap - flat[0] > 1 - gap; // too many for it
        const result = [];
        order.forEach((number, i) => { result[number] = start + (even ? i / count : flat[i] + i * gap); });
        return result;
    }

    /**
     * Where the handles of lamps lie around the picture, [x, y] in 0..1 of it, null for those without a side: in the
     * lamps' directions, and pushed apart where several would lie on each other.
     */
    function ring(lamps, aspect) {
        const placed = lamps.map(({direction, ambient}, number) => ({number, at: direction && !ambient
            ? shareAt(direction, aspect) : null})).filter(({at}) => at !== null);
        inOrder(placed, ({at}) => at);
        const places = lamps.map(() => null), gap = Math.min(0.05, 0.95 / Math.max(placed.length, 1));
        spread(placed.map(({at}) => at), gap).forEach((at, i) => { places[placed[i].number] = placeAt(at, aspect); });
        return places;
    }

    /** How far round the gauge of a handle goes, 0..1: half for intensity 1, never whole. */
    const levelOf = (intensity) => intensity / (intensity + 1);

    /** A light's colour as CSS, darker the weaker it is. */
    const glow = ({color, intensity}) => "#" + linearColor(color).map((value) =>
        Math.round(20 + 235 * encode(value * Math.min(intensity, 1))).toString(16)).join("");

    iclight.lighting = {
        START, weightsFor, factorFor, handMixed, relit, toJson, toSettings, fromSettings, ofLight, orbiting, ring,
        levelOf, glow,
    };
})();
