// The page of `alerter demo --serve`: shows each event, and posts what a button asks for.
"use strict";

const byId = (id) => document.getElementById(id);

const show = {
  begin() {
    byId("posts").replaceChildren();
    byId("mails").replaceChildren();
  },
  message({ column, key, html, parent }) {
    let thread = byId(key);
    if (!html) {
      thread?.remove();
      return;
    }
    if (!thread) {
      thread = document.createElement("div");
      thread.id = key;
      // A reply stands beneath its parent, anything else at the top.
      const above = byId(parent);
      if (above) above.append(thread);
      else byId(column).prepend(thread);
    }
    const replies = [...thread.children].filter((child) => child.id);
    thread.innerHTML = html;
    thread.append(...replies);
    thread.firstElementChild.classList.add("arrived");
  },
  reviews({ html }) {
    byId("reviews").innerHTML = html;
  },
  state({ running, mayStart, slackDown, note }) {
    byId("note").textContent = note;
    byId("note").className = running ? "good" : "";
    byId("start").hidden = !mayStart;
    for (const button of document.querySelectorAll("#add button")) button.disabled = !running;
    byId("slack").textContent = slackDown ? "Bring Slack back" : "Take Slack down";
    byId("slack").dataset.body = JSON.stringify({ down: !slackDown });
    byId("slack").classList.toggle("down", slackDown);
  },
};

const events = new EventSource("events");
events.onmessage = (message) => {
  const event = JSON.parse(message.data);
  show[event.kind](event);
};
events.onerror = () => {
  byId("note").textContent = "The demo has ended.";
  byId("note").className = "";
};

document.addEventListener("click", async (event) => {
  const { post, body = "{}" } = event.target.dataset;
  if (!post) return;
  event.target.disabled = true;
  const answer = await fetch(post, { method: "POST", body });
  event.target.disabled = false;
  if (!answer.ok) byId("note").textContent = `That did not work: ${await answer.text()}`;
});
