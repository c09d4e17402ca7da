// Giving a person what was made: as a file, or to the clipboard.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {make} = iclight.page;

    const KEPT = 60_000; // milliseconds after which a browser has surely taken a file

    /** Let the browser save a Blob under a name. */
    function download(blob, name) {
        const url = URL.createObjectURL(blob);
        make("a", {href: url, download: name}).click();
        setTimeout(() => URL.revokeObjectURL(url), KEPT);
    }

    /** A picture ({width, height, data}) as the Blob of a PNG. */
    function png({width, height, data}) {
        const canvas = make("canvas", {width, height});
        canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
        return new Promise((resolve, reject) => {
            canvas.toBlob((blob) => blob ? resolve(blob) : reject(new Error("no PNG")), "image/png");
        });
    }

    /** Put a text into the clipboard, also where the page is not allowed the newer way; whether it is there. */
    async function copy(text, near) {
        try {
            await navigator.clipboard.writeText(text);
            return true;
        } catch {
            const field = make("textarea", {class: "iclight-desk-away", "aria-hidden": "true", tabindex: "-1"}, text);
            const before = document.activeElement;
            near.append(field);
            field.select();
            const done = document.execCommand("copy");
            field.remove();
            before?.focus();
            return done;
        }
    }

    iclight.saving = {download, png, copy};
})();
