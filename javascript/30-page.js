// The page around us: every selector is here, of a WebUI's elements (A1111's names, which its relatives and the studio
// share) and of the panel's. What a page lacks is null, or a value that stands for it.

(function() {
    "use strict";

    const iclight = globalThis.iclight ??= {};

    const TABS = ["txt2img", "img2img", "studio"];
    const IMG2IMG_PICTURES = ["img2img_image", "img2img_sketch", "img2maskimg", "inpaint_sketch", "img_inpaint_base"];
    const PREVIEW_SIDE = 1024; // longest side of what is sent for a preview

    /** An element with attributes (functions are listeners) and children. */
    function make(tag, attributes = {}, ...children) {
        const element = document.createElement(tag);
        for (const [name, value] of Object.entries(attributes)) {
            if (typeof value === "function") element.addEventListener(name, value);
            else if (value !== false) element.setAttribute(name, value === true ? "" : value);
        }
        element.append(...children);
        return element;
    }

    // The panel -----------------------------------------------------------------------------------------------------

    /** The panel's element of this name; see panel.py. */
    const panel = (tab, name) => document.getElementById(`iclight_${tab}_${name}`);
    const editorIn = (element) => element.querySelector(".iclight-editor");
    const comparisonIn = (element) => element?.querySelector(".iclight-compare");

    /** The light widget's value, and the button that lets the panel fetch the editor's light (panel.py). */
    const light = (tab) => panel(tab, "light")?.querySelector("input")?.value || "none";
    const sendLight = (tab) => panel(tab, "light_bridge")?.click();

    /** The button that lets the panel fetch the img2img tab's picture. */
    const sendTabPicture = () => panel("img2img", "tab_bridge")?.click();

    /** The light map that a person dropped into the panel. */
    const mapPicture = (tab) => loaded(`#iclight_${tab}_light_map img`);

    /** How much of it is smoothed away. */
    const mapBlur = (tab) => Number(mapBlurInput(tab)?.value) || 0;
    const setMapBlur = (tab, blur) => type(mapBlurInput(tab), blur);
    const mapBlurInput = (tab) => document.querySelector(`#iclight_${tab}_light_map_blur input[type=number]`);

    /** The foreground as it is on the page: the panel's, or in img2img the tab's picture. */
    function foreground(tab) {
        return loaded(`#iclight_${tab}_foreground img`) || (tab === "img2img" ? img2imgImage() : null);
    }

    /**
     * The foreground as the panel cut it out, for a sketch: {color, normals, own}, see 25-sketch.js; null while it is of
     * another picture than the foreground.
     */
    function subject(tab) {
        const of = `#iclight_${tab}_cutout_preview`, photo = foreground(tab);
        const [color, normals] = [loaded(`${of} .iclight-cutout img`), loaded(`${of} .iclight-normals`)];
        if (!photo || !color || normals?.dataset.size !== `${photo.naturalWidth}x${photo.naturalHeight}`) return null;
        return {color, normals, own: normals.dataset.own.split(",").map(Number)};
    }

    /** The background picture while the panel shows it, and whether it is mirrored. */
    function background(tab) {
        const image = loaded(`#iclight_${tab}_background img`);
        return image?.offsetParent ? image : null;
    }
    const isFlipped = (tab) => Boolean(document.querySelector(`#iclight_${tab}_background_flip input`)?.checked);

    /** The light that the server found in the background, as a spec's JSON; "" for none. */
    const foundLight = (tab) => document.querySelector(`#iclight_${tab}_status [data-light]`)?.dataset.light || "";

    // The tab -------------------------------------------------------------------------------------------------------

    /** Width and height of the picture to be made, as the host's sliders say. */
    function frame(tab) {
        const side = (name) => Number(document.querySelector(`#${tab}_${name} input[type=number]`)?.value) || 512;
        return [side("width"), side("height")];
    }

    /** The addresses of the pictures in the tab's gallery, in their order. (It may show some twice, small and large.) */
    function gallery(tab) {
        const of = (size) => [...document.querySelectorAll(`#${tab}_gallery .thumbnail-${size} img`)];
        const large = of("lg");
        return (large.length ? large : of("small")).map(({src}) => src);
    }

    /** What the server tells of the light stages among the results, as JSON: beside them, or in a WebUI's info of them. */
    const stages = (tab) => document.querySelector(`#${tab}_fault [data-desk]`)?.dataset.desk
        || info(tab);

    /** Where more is to be shown below the tab's results. */
    const below = (tab) => document.getElementById(`${tab}_results`) || document.getElementById(`${tab}_result`)
        || panel(tab, "editor");

    /** The address of the result that the gallery shows, or null; where it shows a grid, of the first single result. */
    function result(tab) {
        const shown = document.querySelector(`#${tab}_gallery img`)?.src || null, all = gallery(tab);
        const first = Number(/"index_of_first_image": *(\d+)/.exec(info(tab))?.[1]) || 0; // grids come before it
        const at = all.indexOf(shown);
        return at >= 0 && at < first && all[first] || shown;
    }

    /** A WebUI's info of the results, as JSON; "" for none. */
    const info = (tab) => document.querySelector(`#generation_info_${tab} :is(textarea, input)`)?.value || "";

    /** Put words at the end of the tab's prompt, unless it says so already. */
    function appendPrompt(tab, words) {
        const prompt = document.querySelector(`#${tab}_prompt textarea`);
        if (!words || !prompt || prompt.value.includes(words)) return;
        const before = prompt.value.trimEnd().replace(/,+$/, "");
        type(prompt, before ? `${before}, ${words}` : words);
    }

    /** The picture in that of the img2img tab's own tabs (img2img, sketch, inpaint ...) which is open, or null. */
    function img2imgImage() {
        const isOpen = (id) => document.getElementById(id)?.closest(".tabitem")?.style.display !== "none";
        const open = IMG2IMG_PICTURES.find((id) => document.getElementById(id) && isOpen(id));
        return open ? loaded(`#${open} img`) : null;
    }

    /** The img2img tab's picture as a data URI, its longer side at most `most` pixels; "" when there is none. */
    function img2imgPicture(most = Infinity) {
        const image = img2imgImage();
        if (!image) return "";
        const {naturalWidth: width, naturalHeight: height} = image;
        const scale = Math.min(1, most / Math.max(width, height));
        const canvas = make("canvas", {width: Math.round(width * scale), height: Math.round(height * scale)});
        canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
        return canvas.toDataURL("image/png");
    }

    /** The img2img tab's picture for the panel's preview, as JSON with the whole picture's size; "" for none. */
    function tabPicture() {
        const image = img2imgImage();
        return image ? JSON.stringify({width: image.naturalWidth, height: image.naturalHeight,
            picture: img2imgPicture(PREVIEW_SIDE)}) : "";
    }

    // Both ----------------------------------------------------------------------------------------------------------

    const loaded = (selector) => {
        const image = document.querySelector(selector);
        return image?.complete && image.naturalWidth ? image : null;
    };

    /** Let an input have a value as if it were typed. */
    function type(input, value) {
        input.value = value;
        input.dispatchEvent(new Event("input", {bubbles: true}));
    }

    iclight.page = {
        TABS, make, panel, editorIn, comparisonIn, light, sendLight, sendTabPicture, mapPicture, mapBlur, setMapBlur,
        foreground, subject, background, isFlipped, foundLight, frame, result, gallery, stages, below, appendPrompt,
        img2imgImage, img2imgPicture, tabPicture,
    };
})();
