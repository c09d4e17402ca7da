"""Every text of the panel, the light editor and the studio that is no setting's own label or help.

Plain English sentences are the keys of the WebUI's localisation: see localizations/. Nothing is put together inside a
text, so that a translation finds it whole; the status line's parts are separate elements for the same reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# What a person wants, in their words; see helpers.WANTS for the settings behind.
WANT = "What I want"
NEW_BACKGROUND = "New background from the prompt"
MY_BACKGROUND = "Place on my background"
SAME_SCENE = "Keep the scene, change the light"
LIGHT_STAGE = "Light stage: mix the light afterwards"

MODE_LABELS: Mapping[str, str] = MappingProxyType({
    "fc": "New background from the prompt (fc)",
    "fcon": "New background, deeper darks (fcon)",
    "fbc": "Place on my background (fbc)",
})

SIZE_LABELS: Mapping[str, str] = MappingProxyType({"frame": "as generated", "original": "as the photo"})

ANOTHER_FOREGROUND = "Use another foreground than the img2img picture"
BACKGROUND_FOR = "Background"
CUTOUT_PREVIEW = "Cut-out"
MASK_PREVIEW = "Mask"

LIGHT_MAP_GROUP = "Light map, or the light of a reference picture"
PRESERVE = "Preserve"
ADVANCED = "Advanced"
USE_SIZE = "Use foreground's size"
RECOMMENDED = "Recommended settings"
COPY_FROM_IMG2IMG = "Copy from img2img"
RESET = "Reset"
REFRESH_WEIGHTS = "Look for new weights files"
NO_FOREGROUND_TO_MEASURE = "Drop a foreground first."
NOTHING_TO_CHANGE = "These are the recommended settings already."

LIGHTING_PROMPTS = (
    "soft studio lighting", "sunshine from window", "golden hour, sunset light", "natural light, shadow from window",
    "neon light, city at night", "cinematic lighting, dark background", "warm candle light, home at evening",
    "moonlight, blue hour", "light through leaves, forest", "rim light, black background")
SUBJECT_PROMPTS = (
    "portrait, detailed face, best quality", "woman, detailed face, best quality", "man, detailed face, best quality",
    "product photo, sharp focus, best quality", "food photo, appetising, best quality",
    "pet, detailed fur, best quality", "car, glossy paint, best quality", "statue, marble, best quality")

EDITOR: Mapping[str, str] = MappingProxyType({
    "presets": "Light presets",
    "canvas": "Light editor. Arrow keys move the chosen light, Page Up and Page Down choose another, "
              "Delete removes it, Ctrl+Z takes back.",
    "addDirectional": "Add side light",
    "addPoint": "Add lamp",
    "copy": "Copy",
    "remove": "Delete",
    "undo": "Undo",
    "redo": "Redo",
    "lights": "Light to edit",
    "directional": "Side light",
    "point": "Lamp",
    "ambient": "Ambient",
    "coloring": "Colour by",
    "color": "Colour",
    "temperature": "Temperature",
    "intensity": "Intensity",
    "angle": "Angle",
    "size": "Size",
    "fromBackground": "Light from the background",
    "views": "What the canvas shows",
    "onMap": "Light map",
    "onPhoto": "On the photo",
    "sketch": "A sketch of the light: nothing casts a shadow, and the model paints its own picture.",
    "needsBackground": "Drop a background: its light will be found.",
    "picture": "Show the picture",
    "empty": "No light: the prompt decides. Choose one above, or add one.",
    "map": "The light map below is used in the light's place.",
    "takeLight": "Take only this picture's light",
    "bad": "This light cannot be read.",
    "lighting": "Add lighting to the prompt",
    "subject": "Add subject to the prompt",
    "desk": "Open the light desk",
    "deskTitle": "Light desk",
    "deskSet": "Set",
    "deskWhole": "Whole window",
    "deskClose": "Close",
    "compare": "Before and after",
    "before": "Before",
    "after": "After",
    "notLoaded": "The light editor could not be loaded. Reload the page.",
    "doctor": "Copy a report for an issue",
    "doctorWaits": "Looking at everything: some seconds ...",
    "doctorCopied": "Copied. Paste it into the issue.",
    "doctorShown": "Copy the text below.",
    "doctorFailed": "The report could not be had; the console may say why.",
})
"""Texts of javascript/, handed over with the editor's element."""

PRESET_LABELS: Mapping[str, str] = MappingProxyType({
    "none": "None", "left": "Left", "right": "Right", "top": "Top", "bottom": "Bottom", "top-left": "Top left",
    "top-right": "Top right", "bottom-left": "Bottom left", "bottom-right": "Bottom right", "ambient": "Ambient",
    "rim": "Rim", "softbox": "Softbox", "window": "Window", "sunset": "Sunset", "neon pair": "Neon pair",
    "front": "Front", "ring": "Ring"})

# The status line: short parts, each an element of its own.
FOREGROUND = "Foreground"
TAB_FOREGROUND = "Foreground from img2img"
OWN_TRANSPARENCY = "cut out by its own transparency"
CUT_OUT_BY = "cut out by"
USED_WHOLE = "used whole"
TAB_PICTURE = "the img2img picture is the foreground"
LIT_BY = "lit by"
NO_LIGHT = "no light chosen: the prompt decides"
FROM_MAP = "your light map"
FROM_REFERENCE = "the light of your picture"
FROM_EDITOR = "the light editor"
FROM_BACKGROUND = "the light of the background"
CLEAR = "clear)"
NO_CLEAR_SIDE = "(no side is clearly brighter: from all around)"
AT_STRENGTH = "at"
STAGE_PICTURES = "pictures, one for each light"
ON_BACKGROUND = "on your background"
ON_DRAWN_BACKGROUND = "on a background drawn from the light"
BACK_ON_PICTURE = "put back on its own picture"
BACK_AT = "back at"
BACK_AT_OWN = "back at the photo's own size"
WEIGHTS = "weights"
READY = "ready"
WILL_DOWNLOAD = "will be downloaded (1.7 GB)"

NEEDS_FOREGROUND = "Drop a foreground picture to begin."
NEEDS_BACKGROUND = "Drop a background, or choose a light to have one drawn."
NEEDS_LIT_BACKGROUND = EDITOR["needsBackground"]
HIGH_CFG = "CFG above 4 overexposes in this mode: 2 is usual."
LOW_HIRES_DENOISE = "Hires denoising under 0.2 hardly changes anything: 0.5 is usual."
SMALL_FACE = (
    "If this is a standing person, the face has under 64 pixels, and so small a face melts: turn on Hires. fix "
    "or raise the size, and set preserve detail to 0.5.")

# The studio's own page.
STUDIO = "IC-Light studio"
FOR_PHOTOGRAPHS = "For photographs start the studio with --checkpoint."
PROMPT = "Prompt"
NEGATIVE_PROMPT = "Negative prompt"
SAMPLER = "Sampler"
STEPS = "Steps"
WIDTH = "Width"
HEIGHT = "Height"
CFG = "CFG scale"
SEED = "Seed (-1: a new one each time)"
COUNT = "Pictures"
HIRES_SCALE = "Hires scale (1: off)"
HIRES_DENOISE = "Hires denoising"
GUIDANCE_END = "End of the guidance (share of the steps; 1: never)"
PROMPT_SYNTAX = "How the prompts are read"
SYNTAX_LABELS: Mapping[str, str] = MappingProxyType({
    "webui": "(word:1.3), [word], BREAK, embeddings and <lora:name:1>, as WebUIs read them",
    "plain": "every letter as text"})
CHECKPOINT = "Checkpoint"
ADD_LORA = "Add a LoRA to the prompt"
CONTROLNET = "ControlNet"
NO_CONTROLNET = "none"
CONTROL_PICTURE = "Its picture (edges, depth, a pose)"
CONTROL_STRENGTH = "Its strength"
GENERATE = "Generate"
RESULT = "Result"
INFOTEXT = "What made the picture"
UNEXPECTED = "Something went wrong that should not; the console has the details, for a report:"
USE_INFOTEXT = "Use these settings"
NO_INFOTEXT = "This is no infotext of a relit picture. Paste what stands under a result, or the text from PNG Info."

GENERATION_LABELS: Mapping[str, str] = MappingProxyType({
    "width": WIDTH, "height": HEIGHT, "steps": STEPS, "cfg": CFG, "sampler": SAMPLER, "scheduler": "Scheduler",
    "denoise": "Denoising"})
