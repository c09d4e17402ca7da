"""IC-Light in the WebUI: an accordion in txt2img and img2img. The work is done in lib_iclight."""

from modules import script_callbacks, scripts

from lib_iclight.hosts.detect import Unsupported, detect
from lib_iclight.webui import api, panel, run, unsupported, xyz
from lib_iclight.webui.workshop import Workshop

WORKSHOP = Workshop()
HOST = detect()


class ICLightScript(scripts.Script):
    def title(self):
        return "IC-Light"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        if isinstance(HOST, Unsupported):
            return unsupported.explain(is_img2img, HOST.reason)
        made = panel.Panel(is_img2img, WORKSHOP)
        self.infotext_fields = made.infotext_fields
        self.paste_field_names = made.paste_field_names
        return made.inputs

    def process(self, p, *args):
        run.begin(p, args, WORKSHOP, HOST)

    def before_process_init_images(self, p, pp, *args):
        if job := run.run_of(p):
            with run.keeping_errors(p, job):
                job.prepare(p, pp["crop_region"])

    def process_before_every_sampling(self, p, *args, x, **kwargs):
        if job := run.run_of(p):
            with run.keeping_errors(p, job):
                job.before_sampling(p, x)

    def postprocess_image(self, p, pp, *args):
        if job := run.run_of(p):
            pp.image = job.finish(p, pp.image, p.batch_index)

    def postprocess(self, p, processed, *args):
        if job := run.run_of(p):
            run.end(p, job, processed)


script_callbacks.on_before_ui(xyz.add_axes)
script_callbacks.on_app_started(lambda demo, app: api.add_routes(app, WORKSHOP))
