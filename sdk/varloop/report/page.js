"use strict";
(() => {
  document.documentElement.classList.add("scripted");
  const tip = document.getElementById("tip");

  const show = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(6, Math.min(x + 14, innerWidth - box.width - 6)) + "px";
    tip.style.top = (y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18) + "px";
  };
  const hide = () => {
    tip.hidden = true;
    document.querySelectorAll(".near").forEach((dot) => dot.classList.remove("near"));
  };

  // Bars tell what they are; in a plot, the nearest point does.
  document.querySelectorAll("svg.bar, svg.lanes").forEach((svg) => {
    svg.addEventListener("pointermove", (event) => {
      const text = event.target.dataset.tip;
      text ? show(text, event.clientX, event.clientY) : hide();
    });
    svg.addEventListener("pointerleave", hide);
  });
  document.querySelectorAll("svg.plot").forEach((svg) => {
    const dots = [...svg.querySelectorAll("circle")];
    svg.addEventListener("pointermove", (event) => {
      const distance = (dot) => Math.abs(dot.getBoundingClientRect().left - event.clientX);
      const near = dots.reduce((a, b) => (distance(b) < distance(a) ? b : a));
      hide();
      near.classList.add("near");
      show(near.dataset.tip, event.clientX, event.clientY);
    });
    svg.addEventListener("pointerleave", hide);
  });

  // The timeline: buttons zoom, and so does the wheel with a key, about the pointer; dragging moves.
  document.querySelectorAll("svg.zoomable").forEach((svg) => {
    const left = Number(svg.dataset.left), right = Number(svg.dataset.right);
    const moving = svg.querySelector(".moving");
    const bars = [...moving.children].map((bar) => [bar, Number(bar.getAttribute("x")), Number(bar.getAttribute("width"))]);
    const marks = svg.querySelector(".marks"), gaps = svg.querySelector(".gaps");
    const drawn = marks.innerHTML, bottom = Number(marks.querySelector("line").getAttribute("y1"));
    const pieces = JSON.parse(svg.dataset.pieces);
    let scale = 1, shift = 0, held = null;

    const label = (time, step) => {
      const [unit, size] = step >= 1 ? ["s", 1] : step >= 1e-3 ? ["ms", 1e3] : ["μs", 1e6];
      return (time * size).toFixed(0) + " " + unit;
    };
    const add = (name, attributes, text) => {
      const made = document.createElementNS(svg.namespaceURI, name);
      for (const key in attributes) made.setAttribute(key, attributes[key]);
      if (text) made.textContent = text;
      marks.append(made);
    };
    const mark = (place) => {
      marks.innerHTML = drawn;
      if (scale === 1) return;
      [...marks.children].slice(1).forEach((each) => each.remove());
      pieces.forEach(([from, to, x, y], part) => {
        const pixels = (y - x) * scale / (to - from), rough = 90 / pixels;
        const power = 10 ** Math.floor(Math.log10(rough));
        const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
        const first = Math.max(0, (left - place(x)) / pixels), last = (right - place(x)) / pixels;
        for (let k = Math.ceil(first / step); k * step <= Math.min(to - from, last); k += 1) {
          const here = place(x) + k * step * pixels;
          add("line", { x1: here, x2: here, y1: bottom - 4, y2: bottom + 4, class: "axis" });
          const text = (part && k ? "+" : "") + label(k * step, step);
          add("text", { x: here, y: bottom + 20, class: "tick", "text-anchor": "middle" }, text);
        }
      });
    };
    const draw = () => {
      shift = Math.max(right * (1 - scale), Math.min(left * (1 - scale), shift));
      const place = (x) => x * scale + shift;
      for (const [bar, x, width] of bars) {
        bar.setAttribute("x", place(x));
        bar.setAttribute("width", Math.max(width * scale, 0.6));
      }
      mark(place);
      gaps.style.display = scale > 1 ? "none" : "";
    };
    const across = (event) => {
      const box = svg.getBoundingClientRect();
      return ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    };
    const zoom = (factor, at) => {
      const before = scale;
      scale = Math.max(1, Math.min(5000, scale * factor));
      shift = at - ((at - shift) / before) * scale;
      draw();
    };
    svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.shiftKey) return;
      event.preventDefault();
      zoom(Math.exp(-(event.deltaY || event.deltaX) / 300), across(event));
    }, { passive: false });
    const middle = (left + right) / 2;
    const buttons = { in: () => zoom(2, middle), out: () => zoom(0.5, middle), all: () => zoom(0, middle) };
    for (const name in buttons) document.getElementById("zoom-" + name).addEventListener("click", buttons[name]);
    svg.addEventListener("pointerdown", (event) => {
      held = across(event) - shift;
      svg.classList.add("held");
      svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointermove", (event) => {
      if (held === null) return;
      shift = across(event) - held;
      draw();
    });
    svg.addEventListener("pointerup", () => { held = null; svg.classList.remove("held"); });
  });
})();
