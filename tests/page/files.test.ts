import { expect, test } from "bun:test";
import { appOf, facts } from "../status/facts.ts";

const app = appOf(facts());

/** The page's files, as the page and its scripts name them. */
async function files(): Promise<Map<string, { status: number; headers: Headers; text: string }>> {
  const found = new Map<string, { status: number; headers: Headers; text: string }>();
  const wanted = ["/"];
  for (let path = wanted.pop(); path !== undefined; path = wanted.pop()) {
    if (found.has(path)) continue;
    const response = await app.request(path);
    const text = await response.text();
    found.set(path, { status: response.status, headers: response.headers, text });
    for (const [, attribute = ""] of text.matchAll(/ (?:href|src)="(\/mesh[^"]*)"/g)) wanted.push(attribute);
    for (const [, module = ""] of text.matchAll(/ from "(\.[^"]+)"/g))
      wanted.push(new URL(module, `http://localhost${path}`).pathname);
  }
  return found;
}

test("each file is there, small, and safe by its headers", async () => {
  const found = await files();
  expect([...found.keys()]).toContain("/mesh/tiles.js");
  let bytes = 0;
  for (const [path, { status, headers, text }] of found) {
    expect([path, status]).toEqual([path, 200]);
    const type = path.endsWith(".js") ? "text/javascript" : path.endsWith(".css") ? "text/css" : "text/html";
    expect(headers.get("content-type")).toBe(`${type}; charset=utf-8`);
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
    expect(headers.get("content-security-policy")).toBe(
      "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; " +
        "form-action 'none'; frame-ancestors 'none'",
    );
    bytes += text.length;
    expect(text).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function| style="/);
    expect(text.replaceAll("xmlns='http://www.w3.org/2000/svg'", "")).not.toMatch(
      /https?:|url\(|@import|(?<!\{)import\(/,
    );
  }
  expect(bytes).toBeLessThan(40 * 1024);
});

test("what the browser has already is not sent again", async () => {
  for (const path of (await files()).keys()) {
    const etag = (await app.request(path)).headers.get("etag") ?? "";
    expect(etag).not.toBe("");
    expect((await app.request(path, { headers: { "if-none-match": etag } })).status).toBe(304);
  }
});

test("the page is told of every kind of event that there is", async () => {
  const text = await (await app.request("/")).text();
  expect(text).toMatch(/data-event-kinds="started stopping [A-Za-z ]* peersChanged"/);
});
