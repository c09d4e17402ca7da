"""IC-Light in the WebUI: an accordion in txt2img and img2img. The work is done in lib_iclight."""

from pathlib import Path
from typing import Any

from modules import paths_internal, script_callbacks, scripts
from modules.ui_components import InputAccordion

from lib_iclight.folders import Folders
from lib_iclight.hosts.webui.detect import Unsupported, detect
from lib_iclight.panel import panel
from lib_iclight.session import Session
from lib_iclight.webui import api, console, hooks, options, state, unsupported, xyz

SESSION = Session(state.checkpoint, folders=Folders.under(Path(paths_internal.models_path)),
                  progress=state.show_progress, matting_device=options.matting_device)
console.show_log()
HOST = detect()


class ICLightScript(scripts.Script):  # type: ignore[misc]  # the host's, which has no types
    def __init__(self) -> None:
        self.panel: panel.Panel | None = None
        self.components: dict[str, Any] = {}  # the tab's, by elem_id

    def title(self) -> str:
        return "IC-Light"

    def show(self, is_img2img: bool) -> Any:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> Any:
        if isinstance(HOST, Unsupported):
            return unsupported.explain(is_img2img, HOST.reason)
        self.panel = panel.Panel("img2img" if is_img2img else "txt2img", SESSION, InputAccordion)
        self.infotext_fields = self.panel.infotext_fields
        self.paste_field_names = self.panel.paste_field_names
        return self.panel.inputs

    def after_component(self, component: Any, **kwargs: Any) -> None:
        self.components[component.elem_id] = component
        if self.panel and component.elem_id == f"generation_info_{self.panel.tab}":  # the tab's last
            self.panel.connect(self.components)

    def before_process(self, p: Any, *args: Any) -> None:
        hooks.count(p, args)

    def process(self, p: Any, *args: Any) -> None:
        hooks.begin(p, args, SESSION, HOST)

    def before_process_init_images(self, p: Any, pp: Any, *args: Any) -> None:
        hooks.prepare(p, pp)

    def process_before_every_sampling(self, p: Any, *args: Any, x: Any, **kwargs: Any) -> None:
        hooks.before_sampling(p, x)

    def postprocess_image(self, p: Any, pp: Any, *args: Any) -> None:
        hooks.finish(p, pp)

    def postprocess_image_after_composite(self, p: Any, pp: Any, *args: Any) -> None:
        hooks.bring_back(p, pp)

    def postprocess(self, p: Any, processed: Any, *args: Any) -> None:
        hooks.end(p, processed)


def before_ui() -> None:
    options.add_options()
    xyz.add_axes()


# One callback for both: the host takes some 30 ms of its start to note where each comes from.
script_callbacks.on_before_ui(before_ui)
script_callbacks.on_app_started(lambda demo, app: api.add_routes(app, SESSION, HOST))
