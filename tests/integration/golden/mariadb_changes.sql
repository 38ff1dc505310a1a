-- run in one session, after what `mariadb_setup.sql` made has been read
SET SESSION time_zone = '+00:00'; SET NAMES utf8mb4;
SET SESSION timestamp = 1795434214;
USE golden;
INSERT INTO all_types(id,c_tiny,c_utiny,c_tiny1,c_bool,c_small,c_usmall,c_med,c_umed,c_int,c_uint,c_big,c_ubig,c_dec_5_2,c_dec_38_10,c_dec_9_0,c_udec,c_float,c_double,c_bit1,c_bit8,c_bit64,c_char,c_varchar,c_latin1,c_binary,c_varbinary,c_tinyblob,c_blob,c_text,c_mediumtext,c_json,c_enum,c_set,c_date,c_time,c_time3,c_time6,c_dt,c_dt3,c_dt6,c_ts,c_ts3,c_ts6,c_year,c_point,c_geom)
VALUES (3,1,2,1,true,3,4,5,6,7,8,9,10,1.50,1234567890.0123456789,42,9.99,1.5,2.25,b'1',b'10100101',0x0102030405060708,'ch','vc','é',0x0102,0xdeadbeef,0x01,0xff00,'plain','med','{"a": 1, "b": [1, 2.5, null, true, "x"]}','b','x,z','2024-02-29','12:34:56','12:34:56.789','12:34:56.789012','2024-02-29 12:34:56','2024-02-29 12:34:56.789','2024-02-29 12:34:56.789012','2024-02-29 12:34:56','2024-02-29 12:34:56.789','2024-02-29 12:34:56.789012',2024,ST_PointFromText('POINT(1.5 -2.5)'),ST_GeomFromText('LINESTRING(0 0,1 1)',4326));
INSERT INTO all_types(id) VALUES (4);
INSERT INTO all_types(id,c_tiny,c_utiny,c_tiny1,c_small,c_usmall,c_med,c_umed,c_int,c_uint,c_big,c_ubig,c_dec_5_2,c_dec_38_10,c_dec_9_0,c_udec,c_float,c_double,c_bit1,c_bit8,c_bit64,c_char,c_varchar,c_binary,c_varbinary,c_blob,c_text,c_json,c_set,c_date,c_time,c_time6,c_dt,c_dt6,c_ts,c_ts6,c_year) VALUES
 (5,-128,0,-128,-32768,0,-8388608,0,-2147483648,0,-9223372036854775808,0,-999.99,-9999999999999999999999999999.9999999999,-999999999,0,-3.40282e38,-1.7976931348623157e308,b'0',0,0,'','','','','','','null','','1000-01-01','-838:59:59','-838:59:59.000000','1000-01-01 00:00:00','1000-01-01 00:00:00.000000','1970-01-01 00:00:01','1970-01-01 00:00:01.000000',1901),
 (6,127,255,127,32767,65535,8388607,16777215,2147483647,4294967295,9223372036854775807,18446744073709551615,999.99,9999999999999999999999999999.9999999999,999999999,99999999.99,1e-37,5e-324,b'1',255,0xffffffffffffffff,'ab  ','é中😀',0x00,0x0000,0x00ff,'quote" back\\slash tab\t nl\n é中😀 </script>','{"d": 12345678901234567890, "e": 1e100, "nested": {"k": [[], {}]}, "s": "q\\"uote"}','x,y,z','9999-12-31','838:59:59','838:59:58.999999','9999-12-31 23:59:59','9999-12-31 23:59:59.999999','2038-01-19 03:14:07','2038-01-19 03:14:07.999999',2155);
INSERT INTO all_types(id,c_float,c_double,c_time6,c_json) VALUES (7,0.1,0.1,'-00:00:00.000001',JSON_OBJECT('dt',CAST('2024-02-29 12:34:56.789' AS DATETIME(3)),'dec',CAST(1.50 AS DECIMAL(10,2)))),(8,1e10,1e21,'00:00:00','[]'),(9,123456.789,123456789.123456789,'23:59:59.999999','"str"');
UPDATE all_types SET c_int=77, c_text='upd' WHERE id=3;
UPDATE all_types SET c_json=JSON_SET(c_json,'$.a',2) WHERE id=3;
UPDATE all_types SET id=33 WHERE id=3;
DELETE FROM all_types WHERE id=4;
INSERT INTO composite_pk VALUES (1,'a','v1'); UPDATE composite_pk SET v='v2'; UPDATE composite_pk SET k2='b'; DELETE FROM composite_pk;
INSERT INTO own_types(id,u,t,n,e) VALUES (3,'01234567-89ab-4def-8123-456789abcdef','text',6,'x'),(4,NULL,'',NULL,NULL);
UPDATE own_types SET t='short' WHERE id=3; DELETE FROM own_types WHERE id=4;
INSERT INTO no_pk VALUES (1,'x'); UPDATE no_pk SET b='y'; DELETE FROM no_pk;
INSERT INTO `Mixed Case-Tbl` VALUES (1,'a','b');
INSERT INTO trunc_me VALUES (1,'a'),(2,'b');
TRUNCATE trunc_me;
BEGIN; INSERT INTO trunc_me VALUES (3,'tx1'); INSERT INTO no_pk VALUES (3,'tx1'); UPDATE trunc_me SET v='tx1b' WHERE id=3; INSERT INTO trunc_me VALUES (4,'tx1'); COMMIT;
BEGIN; INSERT INTO trunc_me VALUES (99,'rolled back'); ROLLBACK;
BEGIN; INSERT INTO trunc_me VALUES (5,'sp'); SAVEPOINT s; INSERT INTO trunc_me VALUES (6,'sp rolled back'); ROLLBACK TO s; COMMIT;
ALTER TABLE trunc_me ADD COLUMN extra int DEFAULT 5; INSERT INTO trunc_me VALUES (7,'after alter',8); ALTER TABLE trunc_me DROP COLUMN v; INSERT INTO trunc_me(id) VALUES (8); ALTER TABLE trunc_me RENAME COLUMN extra TO extra2; INSERT INTO trunc_me VALUES (9,9);
SET SESSION sql_mode=''; INSERT INTO zero_dates VALUES (1,'0000-00-00','0000-00-00 00:00:00','0000-00-00 00:00:00','0000-00-00','0000-00-00 00:00:00'),(2,'2024-00-00','2024-01-00 00:00:00',NULL,'2024-01-01','2024-01-01 00:00:00');
