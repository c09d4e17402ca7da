// A set of pictures in the browser: from addresses, or from files that a person chose.

(function() {
    "use strict";

    const iclight = globalThis.iclight;
    const {make} = iclight.page;
    const {lampOf} = iclight.mix;
    const {places, sampleOf, metering, Sum, over} = iclight.pixels;

    const VIEW_SIDE = 2048; // longest side of what is shown
    const VIEW_BYTES = 2 ** 28; // of all its pictures together
    const THUMB = [48, 60]; // pixels of a preset's tile

    /** An error whose message is for the person. A part each of what a translation has to find whole. */
    class Fault extends Error {
        constructor(parts, options) {
            super([parts].flat().join(" "), options);
            this.parts = [parts].flat();
        }
    }

    const stem = (name) => name.split(/[\\/]/).pop().replace(/\.[^.]*$/, "");

    /** A picture from an address. `name` is what a fault calls it. */
    async function picture(url, name, texts) {
        const image = make("img", {alt: "", src: url});
        try {
            await image.decode();
        } catch {
            throw new Fault([name, texts.unread]);
        }
        return image;
    }

    /** The pixels of an image at a size, its middle where it has another shape, as ImageData. */
    function pixelsOf(image, width, height) {
        const canvas = make("canvas", {width, height});
        const context = canvas.getContext("2d", {willReadFrequently: true});
        const scale = Math.max(width / image.naturalWidth, height / image.naturalHeight);
        const [w, h] = [image.naturalWidth * scale, image.naturalHeight * scale];
        context.imageSmoothingQuality = "high";
        context.drawImage(image, (width - w) / 2, (height - h) / 2, w, h);
        return context.getImageData(0, 0, width, height);
    }

    /** A mask's pixels: its alpha, or where it is opaque its grey; a byte a pixel. */
    function maskOf({data}) {
        const mask = new Uint8ClampedArray(data.length / 4);
        let opaque = true;
        for (let i = 0; i < mask.length && opaque; i++) opaque = data[4 * i + 3] === 255;
        for (let i = 0, at = 0; i < mask.length; i++, at += 4) {
            mask[i] = opaque ? 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2] : data[at + 3];
        }
        return mask;
    }

    /** The size at which so many pictures of a size are shown. */
    function viewSize(width, height, count) {
        const scale = Math.min(1, VIEW_SIDE / Math.max(width, height), Math.sqrt(VIEW_BYTES / (4 * count * width * height)));
        return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
    }

    class PictureSet {
        /**
         * Open a set. pictures: [{name, light or direction, url}]; alpha: the address of the mask, or null. Throws Fault.
         */
        static async open({pictures, alpha}, presets, texts) {
            const set = new PictureSet();
            if (new Set(pictures.map(({name}) => name)).size < pictures.length) throw new Fault(texts.twice);
            try {
                set.lamps = pictures.map(({name, light, direction}) =>
                    lampOf({name, light: direction ? {direction} : light}, presets));
            } catch (error) {
                throw new Fault(error.message, {cause: error});
            }
            set.images = [];
            for (const {name, url} of pictures) set.images.push(await picture(url, name, texts));
            const [{naturalWidth: width, naturalHeight: height}] = set.images;
            set.images.forEach((image, number) => {
                if (image.naturalWidth !== width || image.naturalHeight !== height) {
                    throw new Fault([pictures[number].name, texts.otherSize]);
                }
            });
            [set.width, set.height, set.aspect] = [width, height, width / height];
            [set.viewWidth, set.viewHeight] = viewSize(width, height, set.images.length);
            set.mask = alpha ? await picture(alpha, "alpha", texts) : null;
            set.alpha = set.mask && maskOf(pixelsOf(set.mask, width, height));
            set.environments = {};
            set.measure();
            return set;
        }

        /** Look at every picture once: for exposure, and for the tiles' thumbnails. */
        measure() {
            const at = places(this.width, this.height, this.alpha), samples = [];
            this.thumbs = [];
            for (const image of this.images) {
                samples.push(sampleOf(pixelsOf(image, this.width, this.height), at));
                this.thumbs.push(pixelsOf(image, ...THUMB).data);
            }
            this.meter = metering(samples);
        }

        /** The pixels of one picture at the view's size. */
        view(number) { return pixelsOf(this.images[number], this.viewWidth, this.viewHeight); }

        /** The mask at the view's size, a byte a pixel; null for none. */
        viewMask() { return this.mask && maskOf(pixelsOf(this.mask, this.viewWidth, this.viewHeight)); }

        /** A thumbnail in some light, as a picture. */
        thumb(weights, factor) {
            const sum = new Sum(...THUMB);
            this.thumbs.forEach((data, number) => sum.add(data, weights[number].map((value) => value * factor)));
            return sum.picture();
        }

        /** The mixture at full size. background: an image, "none" for transparent, or null for the set's own. */
        full(weights, factor, background) {
            const {width, height} = this, sum = new Sum(width, height);
            this.images.forEach((image, number) => {
                if (!weights[number].some(Boolean)) return;
                sum.add(pixelsOf(image, width, height).data, weights[number].map((value) => value * factor));
            });
            const mixture = sum.picture();
            if (background && this.alpha) {
                over(mixture, this.alpha, background === "none" ? null : pixelsOf(background, width, height));
            }
            return mixture;
        }
    }

    // Files ---------------------------------------------------------------------------------------------------------

    const isPicture = (file) => file.type.startsWith("image/") || /\.(png|jpe?g|webp|avif|gif|bmp)$/i.test(file.name);

    /** The set that an `.lp` file lists, as stage.json has it. */
    const fromLp = (text) => ({pictures: text.split(/\r?\n/).slice(1).map((line) => line.trim()).filter(Boolean)
        .map((line) => {
            const parts = line.split(/\s+/), file = parts.slice(0, -3).join(" ");
            return {name: stem(file), file, light: {direction: parts.slice(-3).map(Number)}};
        })});

    /** What `PictureSet.open` takes, of files among which is a list, or that are named after presets. Throws Fault. */
    function listed(files, list, presets, texts) {
        const address = (name) => {
            const base = name.split("/").pop(), found = files.find((file) => file.name === base);
            if (!found) throw new Fault([base, texts.missing]);
            return URL.createObjectURL(found);
        };
        if (!list) {
            const known = files.filter((file) => stem(file.name) in presets);
            if (!known.length) throw new Fault(texts.unnamed);
            const mask = files.find((file) => stem(file.name) === "alpha");
            return {pictures: known.map((file) => ({name: stem(file.name), light: stem(file.name),
                url: URL.createObjectURL(file)})), alpha: mask ? URL.createObjectURL(mask) : null};
        }
        return {pictures: list.pictures.map(({name, file, light}) => ({name, light, url: address(file)})),
            alpha: list.alpha ? address(list.alpha) : null};
    }

    /**
     * What files mean: {set: for `PictureSet.open`}, {settings}, {panorama: File} or {background: File}. Throws Fault.
     */
    async function meaning(files, presets, texts) {
        const named = (pattern) => files.find((file) => pattern.test(file.name));
        if (named(/\.exr$/i)) throw new Fault(texts.noExr);
        const json = named(/\.json$/i), lp = named(/\.lp$/i);
        if (json || lp) {
            let values;
            try {
                values = json ? JSON.parse(await json.text()) : fromLp(await lp.text());
            } catch (error) {
                throw new Fault(texts.noList, {cause: error});
            }
            if (Array.isArray(values?.pictures)) return {set: listed(files, values, presets, texts)};
            if (values?.light || values?.weights) return {settings: values};
            throw new Fault(texts.noSettings);
        }
        const hdr = named(/\.(hdr|pic|rgbe)$/i);
        if (hdr) return {panorama: hdr};
        const pictures = files.filter(isPicture);
        if (!pictures.length) throw new Fault([files[0]?.name || "", texts.unread]);
        if (pictures.length > 1) return {set: listed(pictures, null, presets, texts)};
        const url = URL.createObjectURL(pictures[0]);
        const {naturalWidth, naturalHeight} = await picture(url, pictures[0].name, texts);
        URL.revokeObjectURL(url);
        const around = Math.abs(naturalWidth - 2 * naturalHeight) <= Math.max(1, 0.02 * naturalHeight);
        return around ? {panorama: pictures[0]} : {background: pictures[0]};
    }

    /** The panorama of a file, as 71-environment.js has them. Throws Fault. */
    async function panoramaOf(file, texts) {
        if (/\.exr$/i.test(file.name)) throw new Fault(texts.noExr);
        const bytes = new Uint8Array(await file.arrayBuffer()), {readHdr, fromPicture} = iclight.environment;
        try {
            if (bytes[0] === 35 && bytes[1] === 63) return readHdr(bytes); // "#?"
        } catch (error) {
            throw new Fault(`${file.name}: ${error.message}`, {cause: error});
        }
        const url = URL.createObjectURL(file), image = await picture(url, file.name, texts);
        URL.revokeObjectURL(url);
        return fromPicture(pixelsOf(image, image.naturalWidth, image.naturalHeight));
    }

    iclight.set = {PictureSet, Fault, picture, pixelsOf, meaning, panoramaOf, THUMB};
})();
