-- run as a client would, one statement at a time; `timestamp` fixes what CURRENT_TIMESTAMP gives
SET SESSION time_zone = '+00:00'; SET NAMES utf8mb4;
SET SESSION timestamp = 1795434141;
DROP DATABASE IF EXISTS golden; CREATE DATABASE golden CHARACTER SET utf8mb4; USE golden;
CREATE TABLE all_types(
 id int PRIMARY KEY, c_tiny tinyint, c_utiny tinyint unsigned, c_tiny1 tinyint(1), c_bool boolean, c_small smallint, c_usmall smallint unsigned, c_med mediumint, c_umed mediumint unsigned, c_int int, c_uint int unsigned, c_big bigint, c_ubig bigint unsigned,
 c_dec_5_2 decimal(5,2), c_dec_38_10 decimal(38,10), c_dec_9_0 decimal(9,0), c_udec decimal(10,2) unsigned, c_float float, c_double double, c_bit1 bit(1), c_bit8 bit(8), c_bit64 bit(64),
 c_char char(5), c_varchar varchar(20), c_latin1 varchar(20) character set latin1, c_binary binary(4), c_varbinary varbinary(8), c_tinyblob tinyblob, c_blob blob, c_text text, c_mediumtext mediumtext, c_json json, c_enum enum('a','b','c'), c_set set('x','y','z'),
 c_date date, c_time time, c_time3 time(3), c_time6 time(6), c_dt datetime, c_dt3 datetime(3), c_dt6 datetime(6), c_ts timestamp NULL, c_ts3 timestamp(3) NULL, c_ts6 timestamp(6) NULL, c_year year, c_point point, c_geom geometry,
 c_def int NOT NULL DEFAULT 42, c_def_vc varchar(10) DEFAULT 'dflt', c_def_dec decimal(5,2) NOT NULL DEFAULT 1.25, c_def_ts timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, c_def_dt datetime NOT NULL DEFAULT '2020-01-02 03:04:05');
CREATE TABLE composite_pk(k1 int, k2 varchar(10), v text, PRIMARY KEY(k1,k2));
CREATE TABLE no_pk(a int, b text);
CREATE TABLE zero_dates(id int PRIMARY KEY, d date, dt datetime, ts timestamp NULL, dn date NOT NULL, dtn datetime NOT NULL);
CREATE TABLE `Mixed Case-Tbl`(`Id` int PRIMARY KEY, `some col` text, `наme` text);
CREATE TABLE trunc_me(id int PRIMARY KEY, v text);
CREATE TABLE own_types(id int PRIMARY KEY, u uuid, t text NOT NULL DEFAULT 'none', n int INVISIBLE DEFAULT 5, e enum('x','y') DEFAULT 'y');
INSERT INTO all_types(id) VALUES (1);
INSERT INTO all_types(id,c_tiny,c_utiny,c_tiny1,c_bool,c_small,c_usmall,c_med,c_umed,c_int,c_uint,c_big,c_ubig,c_dec_5_2,c_dec_38_10,c_dec_9_0,c_udec,c_float,c_double,c_bit1,c_bit8,c_bit64,c_char,c_varchar,c_latin1,c_binary,c_varbinary,c_tinyblob,c_blob,c_text,c_mediumtext,c_json,c_enum,c_set,c_date,c_time,c_time3,c_time6,c_dt,c_dt3,c_dt6,c_ts,c_ts3,c_ts6,c_year,c_point,c_geom)
VALUES (2,1,2,1,true,3,4,5,6,7,8,9,10,1.50,1234567890.0123456789,42,9.99,1.5,2.25,b'1',b'10100101',0x0102030405060708,'ch','vc','é',0x0102,0xdeadbeef,0x01,0xff00,'plain','med','{"a": 1, "b": [1, 2.5, null, true, "x"]}','b','x,z','2024-02-29','12:34:56','12:34:56.789','12:34:56.789012','2024-02-29 12:34:56','2024-02-29 12:34:56.789','2024-02-29 12:34:56.789012','2024-02-29 12:34:56','2024-02-29 12:34:56.789','2024-02-29 12:34:56.789012',2024,ST_PointFromText('POINT(1.5 -2.5)'),ST_GeomFromText('LINESTRING(0 0,1 1)',4326));
INSERT INTO own_types(id) VALUES (1);
INSERT INTO own_types(id,u,t,n,e) VALUES (2,'01234567-89ab-4def-8123-456789abcdef','text',6,'x');
SET SESSION timestamp = DEFAULT;
