import { expect, test } from "bun:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import * as v from "valibot";
import { RESOURCES, type Resource } from "../../src/api/resources.ts";
import { ApiCheck } from "../support/api-check.ts";
import { appOf, facts } from "./facts.ts";

const Parameter = v.object({ name: v.string(), in: v.string(), schema: v.looseObject({}) });
const Document = v.looseObject({
  info: v.looseObject({ version: v.string() }),
  paths: v.record(
    v.string(),
    v.record(v.string(), v.looseObject({ operationId: v.string(), parameters: v.optional(v.array(Parameter), []) })),
  ),
});

async function description(): Promise<unknown> {
  const response = await appOf(facts()).request("/openapi.json");
  expect(response.status).toBe(200);
  return response.json();
}

test("the description is a valid OpenAPI document of this version", async () => {
  const document = await description();
  expect(await new Validator().validate(v.parse(v.looseObject({}), document))).toEqual({ valid: true });
  expect(v.parse(Document, document).info.version).toBe("1.2.3");
});

test("it has every resource with its parameters, the commands, and what probes ask", async () => {
  const { paths } = v.parse(Document, await description());
  for (const { path, query } of Object.values(RESOURCES) as Resource[]) {
    const operation = paths[path.replace(":node", "{node}")]?.["get"];
    const named = operation?.parameters.filter((parameter) => parameter.in === "query").map(({ name }) => name);
    expect(named).toEqual([...query, "pretty"]);
  }
  const all = Object.entries(paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((verb) => `${verb} ${path}`),
  );
  const routes = appOf(facts()).routes.filter(({ method, path }) => method !== "ALL" && !path.startsWith("/mesh"));
  const served = routes.map(({ method, path }) => `${method.toLowerCase()} ${path.replace(/:(\w+)/, "{$1}")}`);
  expect(new Set(served)).toEqual(new Set(all));
  expect(all).toContain("post /debug/resync");
  const ids = Object.values(paths).flatMap((operations) => Object.values(operations).map((one) => one.operationId));
  expect(new Set(ids).size).toBe(ids.length);
});

test("the check of answers refuses what the document does not have", async () => {
  const check = new ApiCheck(await description());
  const body: unknown = await (await appOf(facts()).request("/debug/lease")).json();
  check.check("GET", "/debug/lease?pretty", 200, body);
  const lease = v.parse(v.looseObject({}), body);
  expect(() => check.check("GET", "/debug/lease", 200, { ...lease, more: 1 })).toThrow("additional properties");
  expect(() => check.check("GET", "/debug/lease", 200, { ...lease, source: undefined })).toThrow("source");
  expect(() => check.check("GET", "/debug/lease", 418, body)).toThrow("of which /openapi.json has nothing");
  expect(() => check.check("GET", "/debug/leases", 400, { message: "?" })).toThrow("error");
});
