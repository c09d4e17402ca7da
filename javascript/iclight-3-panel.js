// What watches the page: editors come to life when their panel is opened, the comparison follows the latest result.

(function() {
    "use strict";

    const iclight = window.iclight;
    const {editors, mount, make, foregroundOf, mapPictureOf, mapBlurOf, imageOfImg2img} = iclight.editor;

    /** Before and after: the foreground and the result that the gallery shows, with a slider between them. */
    function compare(root) {
        const tab = root.dataset.tab;
        const texts = editors[tab]?.texts;
        const result = document.querySelector(`#${tab}_gallery img`);
        const before = foregroundOf(tab);
        const key = result && before && texts ? `${before.src} ${result.src}` : "";
        if (root.dataset.shown === key) return;
        root.dataset.shown = key;
        if (!key) return root.replaceChildren();
        const after = make("img", {src: result.src, alt: texts.after, class: "iclight-after"});
        const under = make("img", {src: before.src, alt: texts.before, class: "iclight-before"});
        const slider = make("input", {type: "range", min: 0, max: 100, value: 50, "aria-label": texts.compare,
            input: () => after.style.setProperty("clip-path", `inset(0 0 0 ${slider.value}%)`)});
        after.style.setProperty("clip-path", "inset(0 0 0 50%)");
        root.replaceChildren(make("p", {class: "iclight-caption"}, texts.compare),
            make("div", {class: "iclight-pair"}, under, after), slider);
    }

    const pictures = {}; // what each tab's canvas last showed

    function look() {
        waiting = 0;
        mount();
        for (const root of document.querySelectorAll(".iclight-compare")) if (root.offsetParent) compare(root);
        for (const [tab, editor] of Object.entries(editors)) {
            const size = ["width", "height"].map((side) => document.querySelector(`#${tab}_${side} input`)?.value);
            const shown = [foregroundOf(tab)?.src, mapPictureOf(tab)?.src, mapBlurOf(tab), ...size].join();
            if (shown !== pictures[tab] && editor.canvas.offsetParent) {
                pictures[tab] = shown;
                editor.refresh();
            }
        }
        handOver();
    }

    let handed = ""; // the img2img picture that the server was last given for its preview

    /** The open img2img panel gets the tab's picture as soon as it is another one. */
    function handOver() {
        const source = imageOfImg2img()?.src || "";
        if (source === handed || !editors.img2img?.canvas?.offsetParent) return;
        handed = source;
        document.querySelector("#iclight_img2img_tab_bridge")?.click();
    }

    let waiting = 0;
    const lookSoon = () => { waiting = waiting || setTimeout(look, 150); };

    function watch() {
        new MutationObserver(lookSoon).observe(document.body, {
            childList: true, subtree: true, attributes: true, attributeFilter: ["src", "style", "class", "open"]});
        document.addEventListener("load", lookSoon, true); // pictures that arrive later
        document.addEventListener("input", lookSoon, true); // the size sliders
        lookSoon();
    }

    iclight.look = lookSoon;
    if (document.body) watch();
    else document.addEventListener("DOMContentLoaded", watch);
})();
