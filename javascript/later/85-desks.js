// The desk on a page with a panel: under the results as soon as a light stage is among them, or empty when the person asks
// for it. Nothing of it is on the page before.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const page = iclight.page;
    const {make} = page;

    const INFO = "IC-Light desk"; // the key in a WebUI's info; see webui/stages.py

    /** The sets that the server tells of; none where it tells of something else. */
    function read(told) {
        let values;
        try {
            values = JSON.parse(told);
        } catch {
            return [];
        }
        const sets = Array.isArray(values) ? values : values?.extra_generation_params?.[INFO];
        return Array.isArray(sets) ? sets.filter(({pictures}) => pictures.length) : [];
    }

    class Place {
        constructor(tab, closed) {
            this.texts = iclight.editor.editors[tab].texts;
            this.closed = closed;
            this.sets = [];
            this.list = make("select", {"aria-label": this.texts.deskSet,
                change: () => this.open(Number(this.list.value))});
            this.choice = make("label", {class: "iclight-row"}, make("span", {}, this.texts.deskSet), this.list);
            const button = (name, run) => make("button", {type: "button", class: "iclight-button", click: run,
                "data-do": name}, this.texts[name]);
            const tools = make("div", {class: "iclight-tools"}, button("deskClose", () => this.close()));
            this.element = make("div", {class: "iclight-desk-place", "data-tab": tab},
                make("div", {class: "iclight-desk-head"}, make("h3", {}, this.texts.deskTitle), this.choice, tools));
            if (document.fullscreenEnabled) tools.prepend(button("deskWhole", () => this.whole()));
            const inside = make("div");
            this.element.append(inside);
            page.below(tab).append(this.element);
            this.desk = iclight.desk.mount(inside, {labels: iclight.editor.editors[tab].labels,
                presets: iclight.editor.editors[tab].presets});
            this.show([]);
        }

        /** Other sets to choose from, {pictures: [{name, url}], alpha, seed} each; the first is shown. */
        show(sets) {
            this.sets = sets;
            this.choice.hidden = sets.length < 2;
            this.list.replaceChildren(...sets.map(({seed}, number) => make("option", {value: number},
                `${number + 1}: ${seed}`)));
            if (sets.length) this.open(0);
        }

        open(number) { this.opened = this.desk.open(this.sets[number]); }

        /** The whole window for the desk, and back. */
        whole() {
            if (document.fullscreenElement) document.exitFullscreen();
            else this.element.requestFullscreen();
        }

        close() {
            if (document.fullscreenElement === this.element) document.exitFullscreen();
            this.desk.close();
            this.element.remove();
            this.closed();
        }
    }

    const places = {}; // by tab
    const seen = {}; // what each tab's server told last
    const made = {}; // the sets of each tab's last light stages

    /** The tab's desk, which is made where there is none. (A host that draws its page anew takes it away.) */
    function placeOf(tab) {
        if (!places[tab]?.element.isConnected) places[tab] = new Place(tab, () => { delete places[tab]; });
        return places[tab];
    }

    /** Show what light stages the tab's results have by now. */
    function follow(tab) {
        const told = page.stages(tab);
        if (told === seen[tab]) return;
        const sets = read(told), urls = page.gallery(tab);
        if (sets.some(({pictures}) => pictures.some(({at}) => !urls[at]))) return; // the gallery comes after it
        seen[tab] = told;
        if (!sets.length) return;
        made[tab] = sets.map(({pictures, alpha, seed}) => ({alpha, seed,
            pictures: pictures.map(({name, at}) => ({name, light: name, url: urls[at]}))}));
        placeOf(tab).show(made[tab]);
    }

    /** Open the tab's desk and bring it into sight: with the last light stage, or else for pictures from disk. */
    function open(tab) {
        const there = places[tab]?.element.isConnected, place = placeOf(tab);
        if (!there && made[tab]) place.show(made[tab]);
        place.element.scrollIntoView({behavior: "smooth", block: "nearest"});
    }

    iclight.desks = {follow, open, places};
})();
