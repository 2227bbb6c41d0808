// SPDX-License-Identifier: Apache-2.0
// xbee-api, the other side of many home-made XBee programs, drives an emulated module.
import assert from "node:assert/strict";

import { Said, Stick } from "./stick.mjs";

const COORDINATOR = "00124b0021a81179";
const SERIAL_DATA = { endpoint: 0xe8, profile: 0xc105, cluster: 0x0011 };
const NOBODY = "0013a200deadbeef";
const ZIGBEE = 0;
const LONG = 2;
const NEW = 3;

const lamp = { eui64: "0013a20040522baa", address: 0x7d84 };
const sensor = { eui64: "0013a20040522bab", address: 0x7d85 };

// Every octet that AP=2 has to escape, and a length octet that is one: 14 + 3 = 11.
const AWKWARD = [0x7e, 0x7d, 0x11, 0x13, 0x00, 0xff];
const SEARCHGW = [0x03, 0x01, 0x00];

const hex16 = (n) => n.toString(16).padStart(4, "0");

class Module {
    constructor(require, api_mode) {
        const { XBeeAPI, constants } = require("xbee-api");
        this.C = constants;
        this.api = new XBeeAPI({ api_mode, raw_frames: false });
        this.frames = new Said();
        this.log = [];
        this.id = 0;
        this.api.parser.on("data", (frame) => {
            this.log.push(`< ${JSON.stringify(frame)}`);
            this.frames.add(frame);
        });
    }

    async open(require, path) {
        const { SerialPortStream } = require("@serialport/stream");
        const { autoDetect } = require("@serialport/bindings-cpp");
        this.port = new SerialPortStream({ binding: autoDetect(), path, baudRate: 9600 });
        await new Promise((resolve, reject) => {
            this.port.on("open", resolve);
            this.port.on("error", reject);
        });
        this.port.pipe(this.api.parser);
        this.api.builder.pipe(this.port);
    }

    close() {
        return new Promise((resolve) => this.port.close(resolve));
    }

    write(frame) {
        this.id = (this.id % 255) + 1;
        this.log.push(`> ${JSON.stringify(frame)}`);
        this.api.builder.write({ id: this.id, ...frame });
        return this.id;
    }

    async at(command, commandParameter = []) {
        const type = this.C.FRAME_TYPE.AT_COMMAND;
        const id = this.write({ type, command, commandParameter });
        const answer = await this.frames.next(
            command,
            (f) => f.type === this.C.FRAME_TYPE.AT_COMMAND_RESPONSE && f.id === id,
        );
        assert.equal(answer.command, command);
        return { status: answer.commandStatus, hex: answer.commandData?.toString("hex") };
    }

    async transmit(frame) {
        const { ZIGBEE_TRANSMIT_STATUS, TX_STATUS } = this.C.FRAME_TYPE;
        const id = this.write(frame);
        return await this.frames.next(
            "transmit status",
            (f) => (f.type === ZIGBEE_TRANSMIT_STATUS || f.type === TX_STATUS) && f.id === id,
        );
    }
}

async function settings({ module, c }) {
    assert.equal((await module.at("SH")).hex, COORDINATOR.slice(0, 8));
    assert.equal((await module.at("SL")).hex, COORDINATOR.slice(8));
    assert.equal((await module.at("AP")).hex, c.transparent ? "02" : `0${c.mode}`);
    const operating = await module.at("OP");
    assert.equal(operating.status, c.model === ZIGBEE ? 0 : 2);
    assert.equal((await module.at("XX")).status, 2);
    assert.equal((await module.at("CH", [0x30])).status, 3);
}

async function started({ module, c }) {
    for (let i = 0; (await module.at("AI")).hex !== "00"; i++) {
        assert.ok(i < 100, "the network did not come up");
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.equal((await module.at("CH")).hex, "0f");
    if (c.model === ZIGBEE) {
        assert.match((await module.at("OP")).hex, /^[0-9a-f]{16}$/);
        if (c.formed) assert.equal((await module.at("OI")).hex, "1a62");
        assert.equal((await module.at("NJ", [60])).status, 0);
        assert.equal((await module.at("NJ")).hex, "3c");
    }
}

async function joined({ module, stick, c }) {
    const where = c.model === ZIGBEE ? SERIAL_DATA : { endpoint: 0 };
    const numbers = { lamp: await stick.join(lamp.eui64, lamp.address, where) };
    numbers.sensor = await stick.join(sensor.eui64, sensor.address, { ...where, sleepy: true });
    for (const node of c.model === ZIGBEE ? [lamp, sensor] : []) {
        const identity = await module.frames.next(
            "node identification",
            (f) => f.type === module.C.FRAME_TYPE.NODE_IDENTIFICATION && f.remote64 === node.eui64,
        );
        assert.equal(identity.remote16, hex16(node.address));
        assert.equal(identity.sender64, node.eui64);
        assert.equal(identity.digiProfileID, "c105");
    }
    return numbers;
}

// The frame that this module takes for one node, as the host addresses it.
function to(module, c, node, data) {
    const { ZIGBEE_TRANSMIT_REQUEST, TX_REQUEST_16, TX_REQUEST_64 } = module.C.FRAME_TYPE;
    if (c.model === ZIGBEE || c.model === NEW)
        return { type: ZIGBEE_TRANSMIT_REQUEST, destination64: node.eui64, data };
    if (c.model === LONG) return { type: TX_REQUEST_64, destination64: node.eui64, data };
    return { type: TX_REQUEST_16, destination16: hex16(node.address), data };
}

async function delivered({ module, stick, c }, numbers) {
    for (const data of [SEARCHGW, AWKWARD]) {
        const status = await module.transmit(to(module, c, lamp, data));
        assert.equal(status.deliveryStatus, 0);
        if (c.model === ZIGBEE) assert.equal(status.remote16, hex16(lamp.address));
        await stick.heard(numbers.lamp, data);
    }
    if (c.model !== ZIGBEE) return;
    const data = [0x02, 0x16];
    const status = await module.transmit({
        type: module.C.FRAME_TYPE.EXPLICIT_ADDRESSING_ZIGBEE_COMMAND_FRAME,
        destination64: lamp.eui64,
        destination16: hex16(lamp.address),
        sourceEndpoint: SERIAL_DATA.endpoint,
        destinationEndpoint: SERIAL_DATA.endpoint,
        clusterId: SERIAL_DATA.cluster,
        profileId: SERIAL_DATA.profile,
        data,
    });
    assert.equal(status.deliveryStatus, 0);
    await stick.heard(numbers.lamp, data);
}

async function failed({ module, stick, c }, numbers) {
    const raw = c.model !== ZIGBEE;
    const fails = async (node, data, code) =>
        assert.equal((await module.transmit(to(module, c, node, data))).deliveryStatus, code);
    stick.say("reach", numbers.lamp, 0);
    await fails(lamp, SEARCHGW, raw ? 0x01 : 0x21);
    stick.say("reach", numbers.lamp, 1);
    await fails(sensor, SEARCHGW, 0x75);
    await fails({ eui64: NOBODY, address: 0x1234 }, SEARCHGW, raw ? 0x01 : 0x24);
    await fails(lamp, Array(110).fill(0x55), 0x74);
}

async function received({ module, stick, c }, numbers) {
    const T = module.C.FRAME_TYPE;
    const next = (data) =>
        module.frames.next("packet", (f) => f.data !== undefined && f.data.equals(Buffer.from(data)));
    stick.send(numbers.lamp, AWKWARD);
    const one = await next(AWKWARD);
    if (c.model === ZIGBEE || c.model === NEW) {
        assert.equal(one.type, T.ZIGBEE_RECEIVE_PACKET);
        assert.equal(one.remote64, lamp.eui64);
        assert.equal(one.remote16, c.model === NEW ? "fffe" : hex16(lamp.address));
        assert.equal(one.receiveOptions, 1);
    } else if (c.model === LONG) {
        assert.equal(one.type, T.RX_PACKET_64);
        assert.equal(one.remote64, lamp.eui64);
        assert.equal(one.rssi, 50);
    } else {
        assert.equal(one.type, T.RX_PACKET_16);
        assert.equal(one.remote16, hex16(lamp.address));
        assert.equal(one.rssi, 50);
    }
    stick.say("broadcast", numbers.lamp, Buffer.from(SEARCHGW).toString("hex"));
    assert.equal((await next(SEARCHGW)).receiveOptions, 2);
    if (c.model !== ZIGBEE) return;
    assert.equal((await module.at("AO", [1])).status, 0);
    stick.send(numbers.lamp, [0x02, 0x16]);
    const explicit = await next([0x02, 0x16]);
    assert.equal(explicit.type, T.ZIGBEE_EXPLICIT_RX);
    assert.equal(explicit.sourceEndpoint + explicit.destinationEndpoint, "e8e8");
    assert.equal(explicit.clusterId + explicit.profileId, "0011c105");
}

async function broadcast({ module, stick, c }, numbers) {
    const T = module.C.FRAME_TYPE;
    const old = c.model !== ZIGBEE && c.model !== NEW;
    const data = [0x03, 0x02, 0x01];
    const status = await module.transmit(
        old
            ? { type: T.TX_REQUEST_16, destination16: "ffff", data }
            : { type: T.ZIGBEE_TRANSMIT_REQUEST, destination64: "000000000000ffff", data },
    );
    assert.equal(status.deliveryStatus, 0);
    await stick.heard(numbers.lamp, data);
}

async function reset({ module }) {
    const asked = module.frames.all.length;
    assert.equal((await module.at("FR")).status, 0);
    const status = await module.frames.next(
        "modem status",
        (f) =>
            module.frames.all.indexOf(f) >= asked &&
            f.type === module.C.FRAME_TYPE.MODEM_STATUS &&
            f.modemStatus <= 1,
    );
    assert.ok(status.modemStatus <= 1);
}

// As it leaves the factory: +++, and AT commands as text.
async function leave_transparent({ module }) {
    const pause = () => new Promise((resolve) => setTimeout(resolve, 1200));
    let text = "";
    const listen = (octets) => {
        text += octets.toString("latin1");
    };
    module.port.on("data", listen);
    await pause();
    module.port.write("+++");
    await pause();
    module.port.write("ATAP2\rATCN\r");
    await pause();
    module.port.off("data", listen);
    assert.equal(text, "OK\rOK\rOK\r");
}

export async function drive(x, step) {
    const { require, program, c } = x;
    const mode = c.transparent ? 0x20 : c.mode === 1 ? 0x10 : 0x00;
    x.stick = await Stick.plug(program, "xbee", c.model + mode, c.formed);
    x.module = new Module(require, c.transparent ? 2 : c.mode);
    x.log = () => x.module.log;
    let node;
    await step("open", () => x.module.open(require, x.stick.path));
    if (c.transparent) await step("transparent", () => leave_transparent(x));
    await step("settings", () => settings(x));
    await step("started", () => started(x));
    await step("joined", async () => {
        node = await joined(x);
    });
    await step("delivered", () => delivered(x, node));
    await step("failed", () => failed(x, node));
    await step("received", () => received(x, node));
    await step("broadcast", () => broadcast(x, node));
    if (!c.transparent) await step("reset", () => reset(x)); // and it would forget AP=2
    await step("close", () => x.module.close());
}
