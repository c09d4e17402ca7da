// What watches the page: editors come to life when their panel is opened, the comparison follows the latest result.
// While all panels are closed it asks next to nothing of the page, and the scripts in later/ are not on it: a WebUI puts
// each file that lies beside this one into its page, and every one makes it slower to open.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const page = iclight.page;
    const {make} = page;
    const address = document.currentScript?.src; // of this script, where a host's page loads it

    /** Before and after: the foreground and the result that the gallery shows, with a slider between them. */
    function compare(root) {
        const tab = root.dataset.tab;
        const texts = iclight.editor?.editors[tab]?.texts;
        const result = page.result(tab);
        const before = page.foreground(tab);
        const key = result && before && texts ? `${before.src} ${result}` : "";
        if (root.dataset.shown === key) return;
        root.dataset.shown = key;
        if (!key) return root.replaceChildren();
        const after = make("img", {src: result, alt: texts.after, class: "iclight-after"});
        const under = make("img", {src: before.src, alt: texts.before, class: "iclight-before"});
        const slider = make("input", {type: "range", min: 0, max: 100, value: 50, "aria-label": texts.compare,
            input: () => after.style.setProperty("clip-path", `inset(0 0 0 ${slider.value}%)`)});
        after.style.setProperty("clip-path", "inset(0 0 0 50%)");
        root.replaceChildren(make("p", {class: "iclight-caption"}, texts.compare),
            make("div", {class: "iclight-pair"}, under, after), slider);
    }

    let there = Boolean(iclight.doctor); // the other scripts: pages of our own have them from the start
    let asked = there;

    /** Load them; they run in their order. root: an editor's element, which tells their addresses. */
    async function fetchScripts(root) {
        asked = true;
        const {scripts, texts} = JSON.parse(root.dataset.iclight);
        try {
            await Promise.all(scripts.map((name) => new Promise((done, failed) => {
                const script = make("script", {src: new URL(name, address), load: done, error: failed});
                script.async = false;
                document.head.append(script);
            })));
        } catch {
            return root.replaceChildren(make("p", {class: "iclight-fault", role: "alert"}, texts.notLoaded));
        }
        there = true;
        look();
    }

    const known = new WeakSet(); // elements of the panels that `boxes` watches
    const inSight = new Set(); // those of them that are drawn, for their accordion is open
    const boxes = new ResizeObserver((entries) => {
        for (const {target, contentRect} of entries) {
            if (contentRect.width) inSight.add(target);
            else inSight.delete(target);
        }
        watch();
        lookSoon();
    });

    /** The panel's element of this name when it is in sight, or null. */
    function drawn(tab, name) {
        const element = page.panel(tab, name);
        if (element && !known.has(element)) {
            known.add(element);
            boxes.observe(element);
        }
        return inSight.has(element) ? element : null;
    }

    const pictures = {}; // what each tab's canvas last showed

    function look() {
        waiting = 0;
        for (const tab of page.TABS) {
            const [editing, comparing] = [drawn(tab, "editor"), drawn(tab, "compare")];
            if (editing && !asked) fetchScripts(page.editorIn(editing));
            if (!there) continue;
            if (editing) {
                iclight.editor.mount(page.editorIn(editing));
                iclight.doctor.mount(tab, iclight.editor.editors[tab].texts);
            }
            const comparison = page.comparisonIn(comparing || editing);
            if (comparison) compare(comparison);
            if (!editing) continue;
            iclight.desks.follow(tab);
            const shown = [page.foreground(tab)?.src, page.mapPicture(tab)?.src, page.mapBlur(tab), ...page.frame(tab),
                page.subject(tab)?.color, page.background(tab)?.src, page.isFlipped(tab), page.foundLight(tab)];
            if (shown.some((one, i) => one !== pictures[tab]?.[i])) {
                pictures[tab] = shown;
                iclight.editor.editors[tab].refresh();
            }
            if (tab === "img2img") handOver();
        }
    }

    let handed = ""; // the img2img picture that the server was last given for its preview

    /** The open img2img panel gets the tab's picture as soon as it is another one. */
    function handOver() {
        const source = page.img2imgImage()?.src || "";
        if (source === handed) return;
        handed = source;
        page.sendTabPicture();
    }

    let waiting = 0;
    const lookSoon = () => { waiting = waiting || setTimeout(look, 150); };
    const onPage = new MutationObserver(lookSoon);

    const inWebUI = typeof onUiLoaded === "function"; // it says when the page is there; the studio does not

    /** A page that opens changes a hundred thousand things: they are watched only while a panel is open. */
    function watch() {
        if (inSight.size) {
            onPage.observe(document.body, {childList: true, subtree: true, attributes: true,
                attributeFilter: ["src", "style", "class", "open"]});
        } else if (inWebUI) {
            onPage.disconnect();
        } else {
            onPage.observe(document.body, {childList: true, subtree: true});
        }
    }

    function start() {
        watch();
        document.addEventListener("load", lookSoon, true); // pictures that arrive later
        document.addEventListener("input", lookSoon, true); // the size sliders
        if (inWebUI) onUiLoaded(lookSoon);
        lookSoon();
    }

    iclight.look = lookSoon;
    if (document.body) start();
    else document.addEventListener("DOMContentLoaded", start);
})();
