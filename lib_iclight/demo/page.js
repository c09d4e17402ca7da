// The demo's page: before and after with a slider between them, and the desk with the stage that was made.

(function() {
    "use strict";

    const values = JSON.parse(document.getElementById("values").textContent);

    /** Buttons for the pictures of `shown`, and the chosen one over what it was made of. */
    function comparison(root, shown) {
        const pair = root.querySelector(".pair");
        const [before, after] = pair.querySelectorAll("img");
        const slider = pair.querySelector("input");
        const cut = () => after.style.setProperty("clip-path", `inset(0 0 0 ${slider.value}%)`);
        const buttons = shown.map((one) => {
            const button = document.createElement("button");
            button.type = "button";
            button.textContent = one.name;
            button.addEventListener("click", () => choose(one, button));
            return button;
        });

        function choose(one, button) {
            before.src = one.before;
            after.src = one.after;
            before.alt = "before";
            after.alt = one.name;
            for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
        }

        root.querySelector(".choices").replaceChildren(...buttons);
        slider.addEventListener("input", cut);
        choose(shown[0], buttons[0]);
        cut();
    }

    for (const [name, shown] of Object.entries(values.comparisons)) {
        comparison(document.getElementById(name), shown);
    }
    globalThis.iclight.desk.mount(document.getElementById("desk"), values.desk);
})();
