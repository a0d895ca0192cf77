import { expect, test } from "bun:test";
import { ask, facts } from "./facts.ts";

const asked: string[] = [];
const control = { resync: () => void asked.push("resync"), setLogLevel: (level: string) => void asked.push(level) };

function command(method: string, path: string, body: string | null = null, type = "application/json") {
  asked.length = 0;
  return ask(facts(), path, { method, body, headers: { "content-type": type } }, { control });
}

test("a new look, and another level of the log", async () => {
  expect(await command("POST", "/debug/resync")).toMatchObject({ status: 202, body: { askedAt: expect.any(String) } });
  expect(asked).toEqual(["resync"]);
  for (const level of ["debug", "trace", "info"]) {
    const answer = await command(
      "PUT",
      "/debug/log-level",
      JSON.stringify({ level }),
      "application/json; charset=utf-8",
    );
    expect(answer).toMatchObject({ status: 200, body: { level } });
    expect(asked).toEqual([level]);
  }
});

test.each([
  [415, '{"level":"debug"}', "text/plain"],
  [415, "level=debug", "application/x-www-form-urlencoded"],
  [400, "", "application/json"],
  [400, "{", "application/json"],
  [400, "null", "application/json"],
  [400, "{}", "application/json"],
  [400, '{"level":"loud"}', "application/json"],
  [413, `{"level":"${"x".repeat(5000)}"}`, "application/json"],
])("%i for the body %s as %s: nothing happens, and what is right is said", async (status, body, type) => {
  const answer = await command("PUT", "/debug/log-level", body, type);
  expect(answer.status).toBe(status);
  expect(answer.body).toEqual({ error: expect.stringMatching(/\{"level": "debug"\}|4096 bytes/) });
  expect(asked).toEqual([]);
});

test("a body of unknown length is cut off, too", async () => {
  const chunk = new TextEncoder().encode("x".repeat(1000));
  const body = new ReadableStream({ pull: (controller) => controller.enqueue(chunk) });
  const headers = { "content-type": "application/json" };
  const answer = await ask(facts(), "/debug/log-level", { method: "PUT", body, headers }, { control });
  expect(answer.status).toBe(413);
});

test("elsewhere than at the socket for commands they are refused", async () => {
  for (const [method, path] of [
    ["POST", "/debug/resync"],
    ["PUT", "/debug/log-level"],
  ] as const) {
    const answer = await ask(facts(), path, { method });
    expect(answer.status).toBe(403);
    expect(answer.body).toEqual({ error: expect.stringContaining("--debug-socket") });
  }
});
