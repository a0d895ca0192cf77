import type { Hono } from "hono";
import { etag } from "hono/etag";
import { EventKind } from "../../api/events.ts";
import detail from "./browser/mesh/detail.js" with { type: "text" };
import dom from "./browser/mesh/dom.js" with { type: "text" };
import peers from "./browser/mesh/peers.js" with { type: "text" };
import tilesCss from "./browser/mesh/tiles.css" with { type: "text" };
import tiles from "./browser/mesh/tiles.js" with { type: "text" };
import trouble from "./browser/mesh/trouble.js" with { type: "text" };
import css from "./browser/mesh.css" with { type: "text" };
import html from "./browser/mesh.html" with { type: "text" };
import script from "./browser/mesh.js" with { type: "text" };

const TYPES = { html: "text/html", css: "text/css", js: "text/javascript" } as const;

/** An EventSource listens to each kind of event by its name. */
const page = html.replace('data-event-kinds=""', `data-event-kinds="${EventKind.options.join(" ")}"`);

/** What the page consists of: nothing comes from elsewhere. */
const FILES: readonly (readonly [path: string, type: keyof typeof TYPES, text: string])[] = [
  ["/", "html", page],
  ["/mesh.css", "css", css],
  ["/mesh.js", "js", script],
  ["/mesh/detail.js", "js", detail],
  ["/mesh/dom.js", "js", dom],
  ["/mesh/peers.js", "js", peers],
  ["/mesh/tiles.js", "js", tiles],
  ["/mesh/tiles.css", "css", tilesCss],
  ["/mesh/trouble.js", "js", trouble],
];

/** The page runs its own files, talks to its own agent, and is shown in no other page. */
const POLICY = [
  "default-src 'none'",
  "style-src 'self'",
  "script-src 'self'",
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** The mesh page at `/`: how this node sees the others, for people. It reads what everybody can read, and changes nothing. */
export function addPage(app: Hono): void {
  for (const [path, type, text] of FILES) {
    const headers = {
      "content-type": `${TYPES[type]}; charset=utf-8`,
      "content-length": `${Buffer.byteLength(text)}`,
      // Another version of the agent has another page.
      "cache-control": "no-cache",
      "content-security-policy": POLICY,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cross-origin-resource-policy": "same-origin",
    };
    app.get(path, etag(), (context) => context.body(text, 200, headers));
  }
}
