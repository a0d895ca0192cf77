import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { conflistProblem } from "../../src/config/conflist.ts";

const conf = (changes: object) =>
  JSON.stringify({ cniVersion: "0.3.1", name: "cbr0", plugins: [{ type: "flannel" }], ...changes });

test("the sample for operators is a conflist, and so is one with more in it", () => {
  const sample = readFileSync(join(import.meta.dir, "..", "..", "manifests", "cni-conflist.json"), "utf8");
  expect(conflistProblem(sample)).toBeUndefined();
  const plugins = [{ type: "mesh", x: {} }, { type: "flannel" }, { type: "portmap" }];
  expect(conflistProblem(conf({ disableCheck: true, cniVersion: "1.1.0", plugins }))).toBeUndefined();
});

test.each([
  ["", "it is empty"],
  [" \n", "it is empty"],
  ['{"cniVersion": "1.0', "it is not JSON: "],
  ["null", "it must be an object with cniVersion, name and plugins, not null"],
  ["[]", "cniVersion is missing"],
  [conf({ cniVersion: undefined }), "cniVersion is missing"],
  [conf({ cniVersion: "2.0.0" }), 'cniVersion must be one of 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0, not "2'],
  [conf({ name: "" }), "name must be a network's name"],
  [conf({ name: "a/b" }), 'name must be a network\'s name, not "a/b"'],
  [conf({ plugins: undefined }), "plugins is missing"],
  [conf({ plugins: {} }), "plugins must be a list of plugins, not an object"],
  [conf({ plugins: [] }), "plugins must have a plugin of the type flannel"],
  [conf({ plugins: [{ type: "bridge" }] }), "plugins must have a plugin of the type flannel"],
  [conf({ plugins: ["flannel"] }), 'plugins.0 must be an object, not "flannel"'],
  [conf({ plugins: [{ type: "flannel" }, {}] }), "plugins.1.type is missing"],
  [conf({ plugins: [{ type: "" }] }), "plugins.0.type must be a plugin's name"],
  // One plugin's own configuration, not a list.
  ['{"cniVersion":"1.0.0","name":"cbr0","type":"flannel"}', "plugins is missing"],
])("%j is none", (text, says) => {
  expect(conflistProblem(text)).toStartWith(says);
});

test("whatever the text, there is an answer of one line", () => {
  const json = fc.oneof(
    fc.json(),
    fc.string(),
    fc
      .record({ cniVersion: fc.jsonValue(), name: fc.jsonValue(), plugins: fc.jsonValue() })
      .map((x) => JSON.stringify(x)),
  );
  fc.assert(
    fc.property(json, (text) => {
      expect(conflistProblem(text) ?? "").not.toContain("\n");
    }),
  );
});
