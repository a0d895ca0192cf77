import { describe, expect, test } from "bun:test";
import * as v from "valibot";
import { PLATFORMS } from "../../scripts/image/platforms.ts";
import { IMAGE } from "../../scripts/image/reference.ts";
import { sbom } from "../../scripts/image/sbom.ts";
import { debianPackage, npmPackage, origin } from "./samples.ts";

const Id = v.pipe(v.string(), v.regex(/^SPDXRef-[A-Za-z0-9.-]+$/));
const hex = (digits: number) => v.pipe(v.string(), v.regex(new RegExp(`^[0-9a-f]{${digits}}$`)));
const Url = v.union([v.literal("NOASSERTION"), v.pipe(v.string(), v.url())]);

const Package = v.strictObject({
  SPDXID: Id,
  name: v.pipe(v.string(), v.minLength(1)),
  versionInfo: v.string(),
  supplier: v.pipe(v.string(), v.regex(/^(NOASSERTION|(Person|Organization): .+)$/)),
  downloadLocation: Url,
  // With false, the specification wants no packageVerificationCode and no licenseInfoFromFiles.
  filesAnalyzed: v.literal(false),
  licenseConcluded: v.string(),
  licenseDeclared: v.string(),
  copyrightText: v.string(),
  primaryPackagePurpose: v.picklist(["APPLICATION", "CONTAINER", "LIBRARY"]),
  checksums: v.optional(
    v.array(
      v.variant("algorithm", [
        v.strictObject({ algorithm: v.literal("SHA256"), checksumValue: hex(64) }),
        v.strictObject({ algorithm: v.literal("SHA512"), checksumValue: hex(128) }),
      ]),
    ),
  ),
  externalRefs: v.optional(
    v.array(
      v.strictObject({
        referenceCategory: v.literal("PACKAGE-MANAGER"),
        referenceType: v.literal("purl"),
        referenceLocator: v.pipe(v.string(), v.regex(/^pkg:(deb|npm|oci)\/[^@?\s]+(@[^?\s]+)?(\?\S+)?$/)),
      }),
    ),
  ),
  comment: v.optional(v.string()),
});

/** What SPDX 2.3 asks of a JSON document, as far as ours goes. */
const Document = v.strictObject({
  spdxVersion: v.literal("SPDX-2.3"),
  dataLicense: v.literal("CC0-1.0"),
  SPDXID: v.literal("SPDXRef-DOCUMENT"),
  name: v.string(),
  documentNamespace: v.pipe(v.string(), v.url(), v.excludes("#")),
  creationInfo: v.strictObject({
    created: v.pipe(v.string(), v.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)),
    creators: v.array(v.pipe(v.string(), v.regex(/^(Person|Organization|Tool): .+$/))),
  }),
  packages: v.array(Package),
  relationships: v.array(
    v.strictObject({
      spdxElementId: Id,
      relationshipType: v.picklist(["DESCRIBES", "CONTAINS"]),
      relatedSpdxElement: Id,
    }),
  ),
});

const materials = {
  platform: PLATFORMS.amd64,
  origin,
  debian: [debianPackage("/x", "libc6"), debianPackage("/x", "gcc-12-base")],
  npm: [
    npmPackage("hono", "MIT"),
    npmPackage("@kubernetes/client-node", "Apache-2.0"),
    npmPackage("hono", undefined, "node_modules/x_y/node_modules/hono"),
    npmPackage("odd", "SEE LICENSE IN <file>"),
  ],
};

const read = (text: string) => v.parse(Document, JSON.parse(text));

describe("the bill of materials", () => {
  const document = read(sbom(materials));

  test("names everything once, and each is part of something", () => {
    const ids = document.packages.map(({ SPDXID }) => SPDXID);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.length).toBe(3 + materials.debian.length + materials.npm.length);
    const related = document.relationships.map(({ relatedSpdxElement }) => relatedSpdxElement);
    expect(related.sort()).toEqual([...ids].sort());
    for (const { spdxElementId } of document.relationships) expect([...ids, document.SPDXID]).toContain(spdxElementId);
    expect(document.packages[0]?.name).toBe(IMAGE);
  });

  test("names packages as scanners look for them", () => {
    const locators = document.packages.flatMap(({ externalRefs = [] }) =>
      externalRefs.map((one) => one.referenceLocator),
    );
    expect(locators).toContain("pkg:deb/debian/libc6@1%3A2.0-1%2Bb1?arch=amd64&distro=debian-12");
    expect(locators).toContain("pkg:npm/%40kubernetes/client-node@4.5.6");
  });

  test("hands on a licence only where it is one", () => {
    const declared = (name: string) => document.packages.find((one) => one.name === name)?.licenseDeclared;
    expect(["@kubernetes/client-node", "odd"].map(declared)).toEqual(["Apache-2.0", "NOASSERTION"]);
  });

  test("is the same for the same materials, and has a name space of its own for others", () => {
    expect(sbom(materials)).toBe(sbom(materials));
    const other = read(sbom({ ...materials, npm: materials.npm.slice(1) }));
    expect(other.documentNamespace).not.toBe(document.documentNamespace);
  });
});
