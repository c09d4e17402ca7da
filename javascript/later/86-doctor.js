// A button under Advanced that fetches the doctor's paper and copies it. It is no widget of Gradio's: a page opens the
// slower the more of those it has.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {make, panel} = iclight.page;

    const ADDRESS = "iclight/v1/doctor"; // beside the page, wherever it is mounted

    /** The button beneath the one for new weights, once; texts: the editor's. */
    function mount(tab, texts) {
        const beside = panel(tab, "weights_refresh"), id = `iclight_${tab}_doctor`;
        if (!beside || panel(tab, "doctor")) return;
        const said = make("p", {class: "iclight-note", role: "status"});
        const paper = make("textarea", {readonly: true, rows: 12, hidden: true, "aria-label": texts.doctor,
            class: "iclight-paper"});
        const button = make("button", {type: "button", class: `${beside.className} iclight-doctor`,
            click: () => examine(button, said, paper, texts)}, texts.doctor);
        beside.after(make("div", {id}, button, said, paper));
    }

    async function examine(button, said, paper, texts) {
        button.disabled = true;
        said.textContent = texts.doctorWaits;
        try {
            const answer = await fetch(new URL(ADDRESS, document.baseURI), {credentials: "same-origin"});
            if (!answer.ok) throw new Error(String(answer.status));
            paper.value = (await answer.json()).text;
            paper.hidden = false;
            said.textContent = await iclight.saving.copy(paper.value, said) ? texts.doctorCopied : texts.doctorShown;
        } catch {
            said.textContent = texts.doctorFailed;
        }
        button.disabled = false;
    }

    iclight.doctor = Object.freeze({mount});
})();
