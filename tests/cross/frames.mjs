// SPDX-License-Identifier: Apache-2.0
// What our drivers write (cross_frames.c), read by somebody else's library and written again by it:
// the same octets must come out. Emulated sticks overlook fields that don't concern them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";

function written(program, c) {
    const args = [c.driver, String(c.firmware), c.formed ? "formed" : "unformed"];
    return execFileSync(program, args, { encoding: "latin1" })
        .split("\n")
        .filter((line) => /^([0-9a-f]{2})+$/.test(line))
        .map((line) => Buffer.from(line, "hex"));
}

// All frames at once: what its listeners throw, a parser of herdsman takes for its own fault.
function parsed(require, parser, chunks) {
    const { setLogger } = require("zigbee-herdsman/dist/utils/logger.js");
    const nothing = () => {};
    setLogger({ debug: nothing, info: nothing, warning: nothing, error: nothing });
    const frames = [];
    parser.on("parsed", (frame) => frames.push(frame));
    for (const chunk of chunks) parser.write(chunk);
    return frames;
}

const hex = (octets) => Buffer.from(octets).toString("hex");

// ---- TI: UNPI frames, MT commands ------------------------------------------------------------------

function znp(require, chunks) {
    const { Parser } = require("zigbee-herdsman/dist/adapter/z-stack/unpi/parser.js");
    const { ZpiObject } = require("zigbee-herdsman/dist/adapter/z-stack/znp/zpiObject.js");
    const Definition = require("zigbee-herdsman/dist/adapter/z-stack/znp/definition.js").default;
    const seen = new Map();
    const explained = [];
    for (const frame of parsed(require, new Parser(), chunks)) {
        const command = Definition[frame.subsystem].find((c) => c.ID === frame.commandID);
        assert.ok(command, `nobody knows ${frame}`);
        assert.equal(frame.type, command.type, command.name);
        explained.push(frame.toBuffer());
        seen.set(command.name, hex(frame.data));
        if (command.zdoClusterId !== undefined) continue; // judged below
        const { payload } = ZpiObject.fromUnpiFrame(frame);
        const again = ZpiObject.createRequest(frame.subsystem, command.name, payload).unpiFrame;
        assert.equal(hex(again.toBuffer()), hex(frame.toBuffer()), command.name);
    }
    // Besides frames there is only the octet that ends a boot loader's wait.
    const rest = hex(Buffer.concat(chunks)).length / 2 - Buffer.concat(explained).length;
    const skips = chunks.filter((chunk) => hex(chunk) === "ef").length;
    assert.equal(rest, skips, "octets that belong to no frame");
    // Of questions to device objects herdsman has no description; these are what it sends itself.
    assert.match(seen.get("mgmtPermitJoinReq"), /^0ffcff3[0-9a-c]01$/); // a minute at most
    for (const name of ["ping", "version", "register", "dataRequest", "extNwkInfo"])
        assert.ok(seen.has(name), `${name} was never sent`);
    return [...seen.keys()];
}

// ---- Silicon Labs: ASH frames, EZSP requests up to version 13 ------------------------------------

// What that old driver knows otherwise, or not to the end: it gives networkInit no parameters and a
// decision two octets (its successor, "ember", does as we do), and its lists of clusters end nowhere.
const DIFFERENT = {
    networkInit: /^0300$/,
    setPolicy: /^....$/,
    addEndpoint: /^e805c1010000010111001100$/,
};

function ezsp(require, chunks, c) {
    const { Parser } = require("zigbee-herdsman/dist/adapter/ezsp/driver/parser.js");
    const { Frame } = require("zigbee-herdsman/dist/adapter/ezsp/driver/frame.js");
    const { EZSPFrameData } = require("zigbee-herdsman/dist/adapter/ezsp/driver/ezsp.js");
    const { FRAME_NAMES_BY_ID } = require("zigbee-herdsman/dist/adapter/ezsp/driver/commands.js");
    const seen = new Map();
    const request = (octets) => {
        // The first question for the version has the oldest header.
        const legacy = octets.length === 4 && octets[2] === 0;
        const id = legacy ? octets[2] : octets.readUInt16LE(3);
        if (!legacy) assert.equal(hex(octets.subarray(1, 3)), "0001");
        const [name] = FRAME_NAMES_BY_ID[id] ?? [];
        assert.ok(name, `nobody knows request ${id.toString(16)}`);
        const body = octets.subarray(legacy ? 3 : 5);
        seen.set(name, hex(body));
        if (DIFFERENT[name] !== undefined) {
            assert.match(hex(body), DIFFERENT[name], name);
            return;
        }
        const again = new EZSPFrameData(name, true, body).serialize();
        assert.equal(hex(again), hex(body), name);
    };
    const frames = parsed(require, new Parser(), chunks);
    let acks = 0;
    for (const frame of frames) {
        const { control, buffer } = frame;
        frame.checkCRC();
        if (control === 0xc0) assert.equal(hex(buffer), "c038bc7e");
        else if ((control & 0xe0) === 0x80) acks++;
        else {
            assert.equal(control & 0x80, 0, `control ${hex([control])}`);
            request(Frame.makeRandomizedBuffer(buffer.subarray(1, -3)));
        }
    }
    const flags = Buffer.concat(chunks).filter((octet) => octet === 0x7e).length;
    assert.equal(frames.length, flags);
    assert.ok(acks > 0);
    assert.equal(seen.get("version"), hex([c.version]));
    const transient = c.version < 12 ? "addTransientLinkKey" : "importTransientKey";
    for (const name of [transient, "sendUnicast", "sendBroadcast", "setConcentrator", "permitJoining"])
        assert.ok(seen.has(name), `${name} was never sent`);
    if (!c.formed) assert.match(seen.get("formNetwork"), /^.{16}424205140000000000f8ff07$/);
    return [...seen.keys()];
}

// ---- Digi -----------------------------------------------------------------------------------------

function xbee(require, chunks, c) {
    const { XBeeAPI, constants } = require("xbee-api");
    const api = new XBeeAPI({ api_mode: c.mode });
    const seen = new Map();
    const explained = [];
    api.parser.on("data", (frame) => {
        const again = api.buildFrame(frame);
        explained.push(again);
        seen.set(frame.command ?? frame.type, hex(again));
    });
    for (const chunk of chunks) api.parser.write(chunk);
    assert.equal(hex(Buffer.concat(explained)), hex(Buffer.concat(chunks)));
    const { TX_REQUEST_16, ZIGBEE_TRANSMIT_REQUEST } = constants.FRAME_TYPE;
    const sends = c.old ? TX_REQUEST_16 : ZIGBEE_TRANSMIT_REQUEST;
    for (const name of ["AP", "SH", "SL", "VR", "AI", sends])
        assert.ok(seen.has(name), `${name} was never sent`);
    return [...seen.keys()];
}

export async function drive(x, step) {
    const explain = { znp, ezsp, xbee }[x.c.driver];
    let names = [];
    x.log = () => names;
    await step("frames", () => {
        names = explain(x.require, written(x.frames, x.c), x.c);
        console.log(`${names.length} kinds: ${names.join(" ")}`);
    });
}
